"""Filter patterns: what they match, what they refuse, and that nothing makes them slow or fail."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.domain.errors import ServiceError
from lambdad.domain.log_patterns import compile_pattern


def matches(pattern: str, message: str) -> bool:
    matcher = compile_pattern(pattern)
    assert matcher is not None
    return matcher(message)


@pytest.mark.parametrize("pattern", ["", " ", "\t\n"])
def test_an_empty_pattern_matches_everything(pattern: str) -> None:
    assert compile_pattern(pattern) is None


TERMS = [
    # pattern, messages that match, messages that do not
    ("ERROR", ["[ERROR] boom", "an ERROR", "ERRORS"], ["error", "warning"]),
    ("ERROR 400", ["ERROR 400 bad", "400 then ERROR"], ["ERROR 401", "400"]),
    ("?ERROR ?WARN", ["an ERROR", "a WARN", "WARN ERROR"], ["INFO"]),
    ("ERROR -retry", ["ERROR fatal"], ["ERROR retry", "retry", "INFO"]),
    ("-debug", ["info"], ["debug it"]),
    ('"bad request"', ["a bad request here"], ["request bad", "bad  request"]),
    ('-"bad request" ERROR', ["ERROR"], ["ERROR bad request"]),
    ('?"a b" ?c', ["x a b", "c"], ["ab"]),
    (r'"say \"hi\""', ['they say "hi"'], ["say hi"]),
    ("?ERROR ?WARN INFO", ["INFO alone"], ["ERROR alone"]),
    ("Task timed out", ["x Task timed out after 3.00 seconds"], ["Task done"]),
    ("REPORT RequestId:", ["REPORT RequestId: 1"], ["START"]),
    ("%ER+OR%", ["an ERRROR"], ["EOR"]),
    ("%4[0-9]{2}% -404", ["status 403"], ["status 404", "status 503"]),
    ("%^START%", ["START RequestId"], ["a START"]),
    ("%done$%", ["all done\n", "done"], ["done it"]),
    ("?%a.c% ?x", ["abc", "x"], ["ac"]),
    ("grüße", ["viele grüße"], ["gruesse"]),
]

FIELDS = [
    ("[ip, user]", ["1.1.1.1 joe", "1.1.1.1 joe more of it"], ["alone", ""]),
    ("[level=ERROR, rest]", ["ERROR something went wrong"], ["INFO ERROR x"]),
    ("[..., status=4*]", ["a b c 404", "404"], ["404 x", ""]),
    ("[ip, ..., size > 1000]", ["1.1.1.1 x 1001", "ip 2000"], ["1.1.1.1 x 1000", "1.1.1.1 x many", "5000"]),
    ("[ip, id, user, time, request = *html*, status = 4*, bytes]",
     ['127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'],
     ['127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 200 1534',
      '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.txt HTTP/1.0" 404 1534']),
    ("[ip, id, user, time, request, status = 404 || status = 410, bytes]",
     ["1 - f [t t] \"GET /\" 404 1", "1 - f [t t] \"GET /\" 410 1"], ["1 - f [t t] \"GET /\" 500 1"]),
    ("[w1!=ERROR && w1!=WARN, w2]", ["INFO x"], ["ERROR x", "WARN x"]),
    ("[timestamp=*Z, request_id=\"*-*\", event]",
     ["2026-01-31T12:00:00.123Z\t0d9f7b44-5f0d\tINFO it works"], ["START RequestId: 1"]),
    ("[a=%^[0-9]+$%, b]", ["123 x"], ["12a x"]),
    ("[a >= 1e2, b]", ["100 x", "1e3 x"], ["99 x", "x x"]),
    ("[a=5, ...]", ["5", "5.0 x"], ["6"]),
    ('[type="REPORT", ...]', ["REPORT RequestId: 1\tDuration: 2 ms"], ["END RequestId: 1"]),
    ("[a = \"b c\", ...]", ["[b c] d", '"b c"'], ["b c"]),
    ("[a, ..., b, c]", ["1 2 3", "1 2 3 4 5"], ["1 2"]),
]  # fmt: skip

EVENT = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "ThisFlag": True,
    "Off": False,
    "n": 5.5,
    "count": 12,
    "code": "404",
    "with space": {"in.side": 7},
    "message": "Internal error\nsecond line",
    "big": 10**30,
}
JSON_TRUE = [
    '{ $.eventType = "UpdateTrail" }',
    "{ $.eventType = UpdateTrail }",
    '{ $.eventType = "Update*" }',
    "{ $.eventType = *Trail }",
    "{$.eventType=UpdateTrail}",
    "{ $.sourceIPAddress != 123.123.* }",
    "{ $.sourceIPAddress = 111.111.* }",
    '{ $.arrayKey[0] = "value" }',
    '{ $.arrayKey[*] = "another*" }',
    "{ $.objectList[1].id = 2 }",
    "{ $.objectList[*].id >= 2 }",
    "{ $.SomeObject IS NULL }",
    "{ $.SomeObject EXISTS }",
    "{ $.SomeOtherObject NOT EXISTS }",
    "{ $.ThisFlag IS TRUE }",
    "{ $.Off IS FALSE }",
    "{ $.Off is false }",
    "{ $.n > 5 }",
    "{ $.n < 5.6e0 }",
    "{ $.n <= 5.5 }",
    "{ $.count = 12 }",
    "{ $.count = 1* }",
    "{ $.count != 13 }",
    "{ $.code = 404 }",
    '{ $.code = "404" }',
    "{ $.code = %^4[0-9]{2}$% }",
    "{ $.message = %Internal% }",
    '{ $.message = "Internal*line" }',
    "{ $.['with space'].['in.side'] = 7 }",
    '{ $["with space"]["in.side"] = 7 }',
    '{ ($.count = 12) && ($.eventType = "UpdateTrail") }',
    "{ $.count = 1 || $.count = 12 }",
    "{ $.count = 12 || $.count = 1 && $.count = 2 }",
    "{ ($.count = 1 || $.count = 12) && $.n > 1 }",
    "{ $.big > 1e29 }",
    "{ $.* NOT EXISTS }",
]
JSON_FALSE = [
    '{ $.eventType = "updatetrail" }',
    "{ $.missing = x }",
    "{ $.missing != x }",
    "{ $.missing > 1 }",
    "{ $.missing IS NULL }",
    "{ $.eventType NOT EXISTS }",
    "{ $.eventType > 1 }",
    "{ $.SomeObject = null }",
    "{ $.ThisFlag = 1 }",
    "{ $.ThisFlag IS FALSE }",
    "{ $.arrayKey = value }",
    "{ $.arrayKey[7] = value }",
    "{ $.arrayKey.x = value }",
    "{ $.objectList[*].id > 2 }",
    '{ $.count = "12" }',
    "{ $.count = 12 && $.n < 5 }",
    "{ ($.count = 12 || $.n = 1) && $.n < 1 }",
]


@pytest.mark.parametrize(("pattern", "yes", "no"), TERMS + FIELDS, ids=[row[0] for row in TERMS + FIELDS])
def test_terms_and_fields(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [message for message in yes if not matches(pattern, message)] == []
    assert [message for message in no if matches(pattern, message)] == []


@pytest.mark.parametrize("pattern", JSON_TRUE)
def test_json_patterns_that_match(pattern: str) -> None:
    assert matches(pattern, json.dumps(EVENT) + "\n")


@pytest.mark.parametrize("pattern", JSON_FALSE)
def test_json_patterns_that_do_not_match(pattern: str) -> None:
    assert not matches(pattern, json.dumps(EVENT))


@pytest.mark.parametrize("message", ["", "plain", "{", '{"a":', "[1", '{"a": NaN}', '{"a":' * 100_000, "[" * 100_000])
def test_what_is_not_json_matches_no_json_pattern(message: str) -> None:
    assert not matches("{ $.a NOT EXISTS }", message)


@pytest.mark.parametrize(
    "pattern",
    [
        '"open', "[a, b", "[]", "[a,]", "[a b]", "[..., a, ...]", "[a = ]", "[a && b]", "[a=1 && b=2]", "[a ~ 1]",
        "{", "{}", "{ $ }", "{ $. }", "{ $.a }", "{ $.a = }", "{ $.a == 1 }", "{ a = 1 }", "{ $.a IS 5 }",
        "{ $.a NOT 5 }", "{ ($.a = 1 }", "{ $.a = 1) }", "{ $.a > x }", "{ $.a = 1 } x", "{ $.a = 1 && }",
        "{ $.a > %x% }", "%(a)%", "%a", "%[a%", "%a{2,1}%", "%*%", "-", "? x", "a|b", "a=b", "(a)", "x\"y\"",
        "{ " + "(" * 200 + "$.a = 1" + ")" * 200 + " }", "a" * 1025, r"%\q%", "%[b-a]%", "%a$b%", r"%\x1%", "%||%",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(ServiceError) as caught:
        compile_pattern(pattern)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterException", "Invalid filter pattern")


@given(
    st.text(alphabet='[]{}()$.,=<>!&|%*?-" \\abE1_0\n', max_size=60) | st.text(max_size=40),
    st.text(alphabet='[]{}":,. abE01\n\t\\', max_size=60) | st.text(max_size=60),
)
def test_any_pattern_is_refused_or_answers_for_any_message(pattern: str, message: str) -> None:
    with contextlib.suppress(ServiceError):
        matcher = compile_pattern(pattern)
        if matcher is not None:
            assert matcher(message) in (True, False)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.lists(st.sampled_from([".a", ".b", "[0]", "[*]", "['c']"]), min_size=1, max_size=4),
    st.sampled_from(["= 1", "!= x*", "> 0", "EXISTS", "NOT EXISTS", "IS NULL", "IS TRUE", '= "*"', "= %.%"]),
    JSON_VALUES,
)
def test_json_patterns_answer_for_any_document(path: list[str], condition: str, document: object) -> None:
    found = matches(f"{{ ${''.join(path)} {condition} }}", json.dumps(document))
    if condition in ("EXISTS", "NOT EXISTS"):
        assert found != matches(
            f"{{ ${''.join(path)} {'NOT EXISTS' if condition == 'EXISTS' else 'EXISTS'} }}", json.dumps(document)
        ) or not isinstance(document, dict | list)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("%.*.*.*x%", "a" * 100_000),
        ("%a*a*a*a*b%", "a" * 100_000),
        ("[..., x=1]", "[ " * 100_000),
        ("[..., x=1]", '" ' * 100_000 + '"x'),
        ("[..., x=1]", "[ " * 100_000 + "]x"),
        ("[x > 1, ...]", "1" * 200_000 + "x"),
        ("{ $.a = *a*a*a*b }", json.dumps({"a": "a" * 200_000})),
    ],
)
def test_no_message_makes_a_pattern_slow(pattern: str, message: str) -> None:
    matcher = compile_pattern(pattern)
    assert matcher is not None
    start = time.process_time()
    matcher(message)
    assert time.process_time() - start < 2  # milliseconds; anything but linear takes minutes
