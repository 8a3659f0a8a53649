"""Schedules of rules: `rate(5 minutes)` and `cron(0 12 ? * MON-FRI *)`, in UTC.

Six fields as AWS's EventBridge guide has them: minutes, hours, day of month, month, day of week, year. One of the two
days is `?`. `L` is the last day of the month (or, as a day of the week, Saturday; `6L` the last Friday of the month),
`3W` the working day nearest to the 3rd, within the month, `6#2` the second Friday. Days of the week count from Sunday,
1. Ranges may run over the end (`FRI-MON`), as in Quartz, whose form this is. Everything here is a pure function.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from lambdad.domain.errors import LambdadError

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199
_RATE = re.compile(r"rate\(([1-9][0-9]{0,8}) (minute|hour|day)(s?)\)", re.ASCII)
_CRON = re.compile(r"cron\(([^()]+)\)", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)
_UNITS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTH_NAMES: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}

_WEEKDAY_NAMES: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEKDAYS: Final = {name: number for number, name in enumerate(_WEEKDAY_NAMES, 1)}
_SATURDAY: Final = 7
LONGEST_RATE_S: Final = 100 * 366 * 86_400


class InvalidSchedule(LambdadError):
    """The text is not a schedule."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so many seconds, counted from when the rule was made or enabled."""

    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthDays:
    """Days of the month: numbers, the last one, and working days nearest to a number."""

    numbers: frozenset[int] = frozenset()
    last: bool = False
    nearest: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekDays:
    """Days of the week, 1 for Sunday: every one, the last of a month, or the n-th of a month (day, n)."""

    numbers: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    nth: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The moments of a cron expression: whole minutes whose fields are all in their sets."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: MonthDays | WeekDays
    months: frozenset[int]
    years: frozenset[int]


Schedule = Rate | Cron


@lru_cache(maxsize=4096)
def parse_schedule(text: str) -> Schedule:
    """The schedule of an expression. Raises InvalidSchedule."""
    rate = _RATE.fullmatch(text)
    if rate is not None:
        count = int(rate[1])
        seconds = count * _UNITS[rate[2]]
        # `rate(1 minute)`, `rate(2 minutes)`: anything else is refused (AWS: recorded 2024)
        if (count == 1) == bool(rate[3]) or seconds > LONGEST_RATE_S:
            raise InvalidSchedule(text)
        return Rate(seconds)
    cron = _CRON.fullmatch(text)
    if cron is None:
        raise InvalidSchedule(text)
    fields = cron[1].split()
    if len(fields) != 6:
        raise InvalidSchedule(text)
    minutes, hours, month_days, months, week_days, years = fields
    if (month_days == "?") == (week_days == "?"):
        raise InvalidSchedule(text)
    return Cron(
        minutes=_numbers(minutes, 0, 59),
        hours=_numbers(hours, 0, 23),
        days=_week_days(week_days) if month_days == "?" else _month_days(month_days),
        months=_numbers(months, 1, 12, _MONTHS),
        years=_numbers(years, FIRST_YEAR, LAST_YEAR),
    )


def next_after(schedule: Schedule, moment: datetime, anchor: datetime) -> datetime | None:
    """The first firing after `moment`; None if there is none before the year 2200. A rate counts from `anchor`."""
    if isinstance(schedule, Rate):
        periods = max((moment - anchor) // timedelta(seconds=schedule.seconds) + 1, 1)
        return _in_range(anchor, periods * schedule.seconds)
    moment = moment.astimezone(UTC)
    start = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for day in _days_from(schedule, start.date()):
        for hour in sorted(schedule.hours):
            for minute in sorted(schedule.minutes):
                found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                if found >= start:
                    return found
    return None


def last_until(schedule: Schedule, moment: datetime, anchor: datetime) -> datetime | None:
    """The last firing at or before `moment`; None if there is none. A rate has none at its `anchor`."""
    if isinstance(schedule, Rate):
        periods = (moment - anchor) // timedelta(seconds=schedule.seconds)
        return _in_range(anchor, periods * schedule.seconds) if periods >= 1 else None
    moment = moment.astimezone(UTC)
    for day in _days_until(schedule, moment.date()):
        for hour in sorted(schedule.hours, reverse=True):
            for minute in sorted(schedule.minutes, reverse=True):
                found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                if found <= moment:
                    return found
    return None


def _in_range(anchor: datetime, seconds: int) -> datetime | None:
    try:
        found = anchor + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return found if found.year <= LAST_YEAR else None


# --- days ---


def _days_from(cron: Cron, start: date) -> Iterator[date]:
    for year in sorted(cron.years):
        for month in sorted(cron.months):
            if (year, month) >= (start.year, start.month):
                yield from (day for day in _days_of(cron, year, month) if day >= start)


def _days_until(cron: Cron, end: date) -> Iterator[date]:
    for year in sorted(cron.years, reverse=True):
        for month in sorted(cron.months, reverse=True):
            if (year, month) <= (end.year, end.month):
                yield from (day for day in reversed(_days_of(cron, year, month)) if day <= end)


def _days_of(cron: Cron, year: int, month: int) -> list[date]:
    """The days of one month on which it fires, in order."""
    first_weekday, length = calendar.monthrange(year, month)  # Monday is 0
    days: set[int] = set()
    if isinstance(cron.days, MonthDays):
        days |= {day for day in cron.days.numbers if day <= length}
        if cron.days.last:
            days.add(length)
        days |= {_nearest_working_day(day, first_weekday, length) for day in cron.days.nearest if day <= length}
    else:
        for weekday in cron.days.numbers:
            days |= set(range(_first(weekday, first_weekday), length + 1, 7))
        for weekday in cron.days.last:
            days.add(max(range(_first(weekday, first_weekday), length + 1, 7)))
        for weekday, nth in cron.days.nth:
            day = _first(weekday, first_weekday) + 7 * (nth - 1)
            if day <= length:
                days.add(day)
    return [date(year, month, day) for day in sorted(days)]


def _first(weekday: int, first_weekday: int) -> int:
    """The first day of a month that is this day of the week (1 for Sunday)."""
    return (weekday - 2 - first_weekday) % 7 + 1


def _nearest_working_day(day: int, first_weekday: int, length: int) -> int:
    weekday = (first_weekday + day - 1) % 7
    if weekday == 5:  # Saturday
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < length else day - 2
    return day


# --- fields ---


def _month_days(field: str) -> MonthDays:
    numbers: set[int] = set()
    nearest: set[int] = set()
    last = False
    for part in field.split(","):
        if part == "L":
            last = True
        elif part.endswith("W"):
            nearest.add(_value(part[:-1], 1, 31, {}))
        else:
            numbers |= _part(part, 1, 31, {})
    return MonthDays(numbers=frozenset(numbers), last=last, nearest=frozenset(nearest))


def _week_days(field: str) -> WeekDays:
    numbers: set[int] = set()
    last: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for part in field.split(","):
        day, hash_, count = part.partition("#")
        if hash_:
            nth.add((_value(day, 1, 7, _WEEKDAYS), _value(count, 1, 5, {})))
        elif part == "L":
            numbers.add(_SATURDAY)
        elif part.endswith("L"):
            last.add(_value(part[:-1], 1, 7, _WEEKDAYS))
        else:
            numbers |= _part(part, 1, 7, _WEEKDAYS)
    return WeekDays(numbers=frozenset(numbers), last=frozenset(last), nth=frozenset(nth))


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    numbers: set[int] = set()
    for part in field.split(","):
        numbers |= _part(part, low, high, names or {})
    return frozenset(numbers)


def _part(part: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """`*`, `5`, `1-5`, and each with a step: `*/5`, `0/15`, `10-40/10`."""
    span, slash, step_text = part.partition("/")
    step = _value(step_text, 1, max(high - low, 1), {}) if slash else 1
    if span == "*":
        return set(range(low, high + 1, step))
    start_text, dash, end_text = span.partition("-")
    start = _value(start_text, low, high, names)
    end = _value(end_text, low, high, names) if dash else high if slash else start
    if start <= end:
        return set(range(start, end + 1, step))
    if high == LAST_YEAR:
        raise InvalidSchedule(part)
    size = high - low + 1
    return {low + (value - low) % size for value in range(start, end + size + 1, step)}


def _value(text: str, low: int, high: int, names: dict[str, int]) -> int:
    if text.upper() in names:
        return names[text.upper()]
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidSchedule(text)
    return int(text)
