"""Forms that botocore does not send but other clients do, and forms that nobody should send."""

from __future__ import annotations

import pytest

from lambdad.http.messages import Request
from lambdad.wire.protocols import model
from lambdad.wire.protocols.errors import SerializationFailed, UnknownOperation
from lambdad.wire.protocols.query import InvalidFormValue, Query
from lambdad.wire.service import Answer

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def a_codec(name: str) -> Query:
    return Query(model.load(name))


def parse(codec: Query, form: str, method: str = "POST"):
    request = Request("POST", "/", "", FORM, form.encode()) if method == "POST" else Request("GET", "/", form)
    operation, fields = codec.find(request)
    return codec.parse(operation, fields, request)


def test_the_form_may_be_in_the_query_string():
    assert parse(a_codec("iam"), "Action=GetRole&RoleName=a%20b", "GET") == {"RoleName": "a b"}


def test_items_are_sorted_by_number_and_gaps_closed():
    form = "Action=UntagRole&RoleName=r&TagKeys.member.10=c&TagKeys.member.2=b&TagKeys.member.1=a&TagKeys.member.x=d"
    assert parse(a_codec("iam"), form) == {"RoleName": "r", "TagKeys": ["a", "b", "c"]}


def test_sqs_of_older_clients():
    codec = a_codec("sqs")
    form = (
        "Action=SendMessage&QueueUrl=u&MessageBody=b&DelaySeconds=3&MessageAttribute.1.Name=n"
        "&MessageAttributes.1.Name=n&MessageAttributes.1.Value.DataType=String"
    )
    params = parse(codec, form)
    assert (params["MessageBody"], params["DelaySeconds"]) == ("b", 3)
    body = codec.answer(codec.model.operations["SendMessage"], Answer(members={"MessageId": "m"}), "id").body
    assert body.startswith(
        b'<SendMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><SendMessageResult>'
    )


@pytest.mark.parametrize("form", ["", "Version=2010-05-08", "Action=Nothing", "Action="])
def test_unknown_actions(form: str):
    with pytest.raises(UnknownOperation, match="Could not find operation"):
        a_codec("iam").find(Request("POST", "/", "", FORM, form.encode()))


@pytest.mark.parametrize("value", ["x", "1.5", "99999999999999999999", ""])
def test_values_of_another_type(value: str):
    with pytest.raises(InvalidFormValue, match="for parameter MaxItems is invalid"):
        parse(a_codec("iam"), f"Action=ListRoles&MaxItems={value}")


def test_strange_forms_do_no_harm():
    codec = a_codec("iam")
    deep = ".".join("a" * 1000)
    for form in (
        f"{deep}=1",
        "TagKeys=1",
        "TagKeys.member=1",
        "RoleName.x.y=1",
        "TagKeys.member.1.2.3=1",
        ".=1",
        "&&=&",
        "RoleName=a&RoleName.=b&RoleName=c",
    ):
        assert isinstance(parse(codec, f"Action=UntagRole&{form}"), dict)
    with pytest.raises(SerializationFailed):
        parse(codec, "Action=GetRole&" + "a=1&" * 100_001)
