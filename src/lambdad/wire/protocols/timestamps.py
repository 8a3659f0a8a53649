"""Points in time on the wire: epoch seconds, ISO 8601, HTTP dates."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

EPOCH_SECONDS = "unixTimestamp"
ISO_8601 = "iso8601"
HTTP_DATE = "rfc822"


def parse(value: object) -> datetime:
    """An aware time from a number of seconds or from text in any of the forms. Raises ValueError."""
    if isinstance(value, bool) or value is None:
        raise ValueError("not a timestamp")
    if isinstance(value, int | float):
        return _from_seconds(value)
    if not isinstance(value, str):
        raise ValueError("not a timestamp")
    try:
        return _from_seconds(float(value))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, IndexError) as error:
            raise ValueError("not a timestamp") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _from_seconds(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("not a timestamp") from error


def to_seconds(moment: datetime) -> int | float:
    """Epoch seconds, whole where they are, else with milliseconds."""
    seconds = round(moment.timestamp(), 3)
    return int(seconds) if seconds == int(seconds) else seconds


def to_text(moment: datetime, form: str) -> str:
    """`2026-11-23T10:00:00Z`, or with milliseconds where there are some; an HTTP date; epoch seconds."""
    moment = moment.astimezone(UTC)
    if form == EPOCH_SECONDS:
        return str(to_seconds(moment))
    if form == HTTP_DATE:
        return format_datetime(moment, usegmt=True)
    milliseconds = f".{moment.microsecond // 1000:03d}" if moment.microsecond >= 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{milliseconds}Z"
