"""What a target of a rule gets instead of the event: a constant, a part of it, or a template filled from it.

InputPath is a subset of JSONPath: `$.detail.items[0]['a b']`, and `[*]` for all elements. In a template, `<name>`
outside of quotes becomes the value as JSON; inside of quotes it becomes its text, where objects and arrays lose their
quotes. A name without a value becomes an empty text. `<aws.events.…>` names are known without a path (EventBridge
guide, input transformation). A filled template of valid JSON is valid JSON again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from lambdad.domain.errors import LambdadError

_STEP = re.compile(
    r"\.(?P<name>[^.\[\]'\"\s*]+)"
    r"|\[(?:'(?P<single>[^']+)'|\"(?P<double>[^\"]+)\"|(?P<index>-?[0-9]{1,9})|(?P<all>\*))\]"
    r"|\.(?P<every>\*)"
)
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.\-]+)>")
_QUOTE_OR_PLACEHOLDER = re.compile(r"\\.|\"|<(?P<name>[A-Za-z0-9_.\-]+)>", re.DOTALL)
_STRINGS = re.compile(r'\s*(?:"(?:[^"\\]|\\.)*"\s*)+')
RESERVED: Final = frozenset({
    "aws.events.rule-arn", "aws.events.rule-name", "aws.events.event", "aws.events.event.json",
    "aws.events.event.ingestion-time",
})  # fmt: skip
_MISSING: Final = object()
Step = str | int | None
"""A member, an element, or None for all of them."""


class InvalidPath(LambdadError):
    """The text is not a path of the kind that is known here."""


class InvalidTemplate(LambdadError):
    """The filled template would not be JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTransformer:
    """A template, and the paths of its own names."""

    template: str
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateContext:
    """What the names that need no path stand for."""

    rule_arn: str
    rule_name: str
    event_json: str
    """The whole event, as it is delivered without a transformation."""
    ingestion_time: str
    """`2026-01-31T12:00:00Z`"""


@lru_cache(maxsize=4096)
def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises InvalidPath."""
    if not path.startswith("$"):
        raise InvalidPath(path)
    steps: list[Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise InvalidPath(path)
        if match["all"] or match["every"]:
            steps.append(None)
        elif match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["name"] or match["single"] or match["double"])
        at = match.end()
    return tuple(steps)


def find(path: str, event: Any) -> tuple[bool, Any]:
    """Whether the path leads somewhere in the event, and to what. Raises InvalidPath."""
    value = _walk(parse_path(path), event)
    return (False, None) if value is _MISSING else (True, value)


def select(path: str, event: Any) -> str:
    """The part of the event that a path leads to, as JSON; `null` if it leads nowhere. Raises InvalidPath."""
    return _dump(find(path, event)[1])


def check_transformer(transformer: InputTransformer) -> None:
    """Raises InvalidPath, and InvalidTemplate for a template that could never be JSON."""
    for path in transformer.paths.values():
        parse_path(path)
    probe = _fill(transformer.template, lambda _, in_text: "" if in_text else "0")
    if _STRINGS.fullmatch(probe):  # texts below one another are allowed
        return
    try:
        json.loads(probe)
    except (ValueError, RecursionError):
        raise InvalidTemplate(transformer.template) from None


def transform(transformer: InputTransformer, event: Any, context: TemplateContext) -> str:
    """The filled template. Raises InvalidPath."""
    values = {name: _walk(parse_path(path), event) for name, path in transformer.paths.items()}
    return _fill(transformer.template, lambda name, in_text: _shown(name, in_text, values, event, context))


def _walk(steps: Sequence[Step], value: Any) -> Any:
    for number, step in enumerate(steps):
        if step is None:
            items = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
            found = [_walk(steps[number + 1 :], item) for item in items]
            return [item for item in found if item is not _MISSING]
        if isinstance(step, int):
            if not isinstance(value, list) or not -len(value) <= step < len(value):
                return _MISSING
        elif not isinstance(value, dict) or step not in value:
            return _MISSING
        value = value[step]
    return value


def _fill(template: str, value_of: Any) -> str:
    """`value_of(name, in_text)` for every name; whether it stands inside of quotes is seen on the way."""
    parts: list[str] = []
    in_text = False
    at = 0
    for match in _QUOTE_OR_PLACEHOLDER.finditer(template):
        name = match["name"]
        if name is None:
            in_text ^= match[0] == '"'
            continue
        parts += (template[at : match.start()], value_of(name, in_text))
        at = match.end()
    parts.append(template[at:])
    return "".join(parts)


def _shown(name: str, in_text: bool, values: Mapping[str, Any], event: Any, context: TemplateContext) -> str:
    value = values.get(name, _MISSING)
    if name not in values and name in RESERVED:
        if name == "aws.events.event.json" and not in_text:
            return context.event_json
        value = _reserved(name, event, context)
    if value is _MISSING:
        return "" if in_text else '""'
    if not in_text:
        return _dump(value)
    if isinstance(value, str):
        return _dump(value)[1:-1]
    return _dump(value).replace('"', "").replace("\\", "")


def _reserved(name: str, event: Any, context: TemplateContext) -> Any:
    match name:
        case "aws.events.rule-arn":
            return context.rule_arn
        case "aws.events.rule-name":
            return context.rule_name
        case "aws.events.event.ingestion-time":
            return context.ingestion_time
        case "aws.events.event":
            return {key: value for key, value in event.items() if key != "detail"}
        case _:
            return event


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
