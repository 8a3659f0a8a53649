"""Answers recorded from AWS, and their comparison with ours.

A placeholder such as `<uuid:1>` takes the value it meets first and has to meet it again; `<uuid:1>` and `<uuid:2>` are
different values. Members have to be the same on both sides, none missing, none more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

FOLDER = Path(__file__).parent / "recorded"
_PLACEHOLDER = re.compile(r"<[A-Za-z][A-Za-z0-9_-]*(?::[^<>]*)?>")
_NESTED = re.compile(r"<(<[a-z0-9-]+)>(:\d+>)")
_REPEATED = re.compile(r"<a:len\((\d+)\)>")
_ENUM = re.compile(r"(?<=enum value set: \[)[^\]]*(?=\])")
# Values that say nothing: whole texts, as the recordings have them in place of what changes.
_ANYTHING = frozenset({"date", "datetime", "timestamp", "code-sha256"})
# Placeholders that stand for another value each time.
_EVER_NEW = (
    "<code-size>", "<location>", "<datetime>", "<timestamp:", "<approximate-first-receive-timestamp>",
    "<approximate-arrival-timestamp>", "<approximate-creation-datetime>", "<execution-start>",
)  # fmt: skip


class Recording:
    """One recorded test. Steps are compared in any order and share their placeholders."""

    def __init__(self, path: Path, **known: str) -> None:
        """`known` gives values of placeholders beforehand, with underscores for dashes: `region="eu-west-1"`."""
        document = json.loads(path.read_text())
        self.id: str = document["id"]
        self.steps: dict[str, Any] = document["recorded-content"]
        self._values: dict[str, str] = {"<partition>": "aws"}
        for name, value in known.items():
            self._values[f"<{name.replace('_', '-')}>"] = value

    @classmethod
    def find(cls, test: str, **known: str) -> Recording:
        """By the end of the test's id, such as `TestLambdaTags::test_tag_lifecycle`."""
        return cls(paths()[test], **known)

    def check(self, step: str, answer: Any) -> None:
        """Asserts that an answer of boto3, or an exception, is what the step recorded."""
        expected = self.steps[step]
        if isinstance(expected, dict) and "CreateFunctionResponse" in expected:
            expected = expected["CreateFunctionResponse"]
        if isinstance(answer, ClientError):
            answer = refusal(answer) if "Count" in expected or "Code" in expected else dict(answer.response)
        problems: list[str] = []
        self._compare(expected, answer, step, problems)
        assert not problems, f"{self.id}\n" + "\n".join(problems)

    def _compare(self, expected: Any, actual: Any, path: str, problems: list[str]) -> None:
        if isinstance(expected, dict) and isinstance(actual, Mapping):
            if "HTTPStatusCode" in expected:
                actual = {"HTTPHeaders": {}, "HTTPStatusCode": actual.get("HTTPStatusCode")}
            missing, more = expected.keys() - actual.keys(), actual.keys() - expected.keys()
            if missing or more:
                problems.append(f"{path}: missing {sorted(missing)}, too many {sorted(more)}")
            for key in expected.keys() & actual.keys():
                self._compare(expected[key], actual[key], f"{path}.{key}", problems)
        elif isinstance(expected, list) and isinstance(actual, list):
            if len(expected) != len(actual):
                problems.append(f"{path}: {len(expected)} elements expected, not {len(actual)}")
            for index, pair in enumerate(zip(expected, actual, strict=False)):
                self._compare(*pair, f"{path}[{index}]", problems)
        elif isinstance(expected, str) and expected not in _ANYTHING:
            if not self._matches(expected, actual):
                problems.append(f"{path}: {expected!r} expected, not {actual!r}")
        elif not isinstance(expected, str) and expected != actual:
            problems.append(f"{path}: {expected!r} expected, not {actual!r}")

    def _matches(self, expected: str, actual: object) -> bool:
        expected = _REPEATED.sub(lambda match: "a" * int(match[1]), _NESTED.sub(r"\1\2", expected))
        if not isinstance(actual, str):
            return _PLACEHOLDER.fullmatch(expected) is not None and self._bind({expected: str(actual)})
        if _ENUM.search(expected):
            expected, actual = _ENUM.sub(_sorted, expected), _ENUM.sub(_sorted, actual)
        names: list[str] = []
        pattern, end = "", 0
        for match in _PLACEHOLDER.finditer(expected):
            pattern += re.escape(expected[end : match.start()])
            end = match.end()
            if match[0] in names:
                pattern += f"(?P=v{names.index(match[0])})"
            else:
                pattern += f"(?P<v{len(names)}>.+?)"
                names.append(match[0])
        pattern += re.escape(expected[end:])
        found = re.fullmatch(pattern, actual, re.DOTALL)
        return found is not None and self._bind({name: found[f"v{index}"] for index, name in enumerate(names)})

    def _bind(self, values: dict[str, str]) -> bool:
        for name, value in values.items():
            if name.startswith(_EVER_NEW):
                continue
            if self._values.setdefault(name, value) != value:
                return False
            if name.startswith("<uuid:") and any(
                other != name and other.startswith("<uuid:") and taken == value for other, taken in self._values.items()
            ):
                return False
        return True


def paths() -> dict[str, Path]:
    """Recordings by test, such as `TestLambdaTags::test_tag_lifecycle`."""
    return {json.loads(path.read_text())["id"].partition("::")[2]: path for path in sorted(FOLDER.glob("*.json"))}


def refusal(error: ClientError) -> dict[str, Any]:
    """An error as some recordings hold it: its code, and the violations that its text lists."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    listed = re.fullmatch(r"(\d+) validation errors? detected: (.*)", message, re.DOTALL)
    if listed is None:
        return {"Code": code, "Message": message}
    return {"Code": code, "Count": int(listed[1]), "Errors": listed[2].split("; ")}


def _sorted(match: re.Match[str]) -> str:
    return ", ".join(sorted(match[0].split(", ")))
