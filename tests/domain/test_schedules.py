"""Schedules: tables of valid and invalid expressions and of firings, and properties against a walk over minutes."""

from __future__ import annotations

import calendar
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lambdad.domain.schedules import (
    Cron,
    InvalidSchedule,
    MonthDays,
    Rate,
    last_until,
    next_after,
    parse_schedule,
)

START = datetime(2026, 1, 31, 12, 30, 20, tzinfo=UTC)  # a Saturday


def after(expression: str, moment: datetime = START, count: int = 1) -> list[str]:
    schedule = parse_schedule(expression)
    found = []
    for _ in range(count):
        following = next_after(schedule, moment, START)
        if following is None:
            break
        found.append(f"{following:%Y-%m-%d %H:%M}")
        moment = following
    return found


FIRINGS = [
    ("cron(0 10 * * ? *)", ["2026-02-01 10:00", "2026-02-02 10:00"]),
    ("cron(15 12 * * ? *)", ["2026-02-01 12:15", "2026-02-02 12:15"]),
    ("cron(31 12 * * ? *)", ["2026-01-31 12:31", "2026-02-01 12:31"]),
    ("cron(0 18 ? * MON-FRI *)", ["2026-02-02 18:00", "2026-02-03 18:00"]),
    ("cron(0 8 1 * ? *)", ["2026-02-01 08:00", "2026-03-01 08:00"]),
    ("cron(0/15 * * * ? *)", ["2026-01-31 12:45", "2026-01-31 13:00"]),
    ("cron(*/20 * * * ? *)", ["2026-01-31 12:40", "2026-01-31 13:00"]),
    ("cron(5,35 14 * * ? *)", ["2026-01-31 14:05", "2026-01-31 14:35"]),
    ("cron(0/5 8-17 ? * MON-FRI *)", ["2026-02-02 08:00", "2026-02-02 08:05"]),
    ("cron(0 9 ? * 2#1 *)", ["2026-02-02 09:00", "2026-03-02 09:00"]),
    ("cron(0 2 ? * SAT#3 *)", ["2026-02-21 02:00", "2026-03-21 02:00"]),
    ("cron(0 2 ? * 7#5 *)", ["2026-05-30 02:00", "2026-08-29 02:00"]),
    ("cron(15 10 ? * 6L 2026-2027)", ["2026-02-27 10:15", "2026-03-27 10:15"]),
    ("cron(15 10 ? * L *)", ["2026-02-07 10:15", "2026-02-14 10:15"]),
    ("cron(0 0 L * ? *)", ["2026-02-28 00:00", "2026-03-31 00:00"]),
    ("cron(0 0 L 2 ? *)", ["2026-02-28 00:00", "2027-02-28 00:00", "2028-02-29 00:00"]),
    ("cron(0 0 29 2 ? *)", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ("cron(0 0 3W * ? *)", ["2026-02-03 00:00", "2026-03-03 00:00", "2026-04-03 00:00", "2026-05-04 00:00"]),
    ("cron(0 0 1W 8 ? *)", ["2026-08-03 00:00", "2027-08-02 00:00"]),  # a Saturday and a Sunday: not in July
    ("cron(0 0 31W 5 ? *)", ["2026-05-29 00:00", "2027-05-31 00:00"]),  # a Sunday: not in June
    ("cron(0 12 15 JAN,jul ? 2026)", ["2026-07-15 12:00"]),
    ("cron(0 0 1 1 ? 2025)", []),
    ("cron(0 0 30 2 ? *)", []),
    ("cron(0 22-1 * * ? *)", ["2026-01-31 22:00", "2026-01-31 23:00", "2026-02-01 00:00", "2026-02-01 01:00"]),
    ("cron(0 0 ? * SAT-SUN *)", ["2026-02-01 00:00", "2026-02-07 00:00"]),
    ("cron(59 23 31 12 ? 2199)", ["2199-12-31 23:59"]),
    ("rate(1 minute)", ["2026-01-31 12:31", "2026-01-31 12:32"]),
    ("rate(2 hours)", ["2026-01-31 14:30", "2026-01-31 16:30"]),
    ("rate(7 days)", ["2026-02-07 12:30", "2026-02-14 12:30"]),
]


@pytest.mark.parametrize(("expression", "expected"), FIRINGS)
def test_the_next_firings(expression: str, expected: list[str]):
    assert after(expression, count=len(expected) or 1) == expected


INVALID = [
    "rate(10 seconds)", "rate(10 years)", "rate(1 minutes)", "rate(1 hours)", "rate(1 days)", "rate(10 minute)",
    "rate(10 hour)", "rate(10 day)", "rate()", "rate(10)", "rate(10 minutess)", "rate(foo minutes)", "rate(0 minutes)",
    "rate(-10 minutes)", "rate(10 MINUTES)", "rate( 10 minutes )", " rate(10 minutes)", "rate(999999999 days)", "",
    "cron()", "cron(INVALID)", "cron(7 20 * * NOT *)", "cron(0 dummy ? * MON-FRI *)", "cron(71 8 1 * ? *)",
    "cron(0 25 * * ? *)", "cron(0 1 * * * *)", "cron(0 1 ? * ? *)", "cron(0 1 * * ?)", "cron(0 1 * * ? * *)",
    "cron(0 1 0 * ? *)", "cron(0 1 32 * ? *)", "cron(0 1 * 13 ? *)", "cron(0 1 ? * 8 *)", "cron(0 1 ? * 0 *)",
    "cron(0 1 ? * 2#6 *)", "cron(0 1 ? * 2#0 *)", "cron(0 1 * * ? 1969)", "cron(0 1 * * ? 2200)", "cron(0 1 W * ? *)",
    "cron(0 1 * * ? 2030-2020)", "cron(L 1 * * ? *)", "cron(0 1 ? L * *)", "cron(? 1 * * ? *)", "cron(0/0 1 * * ? *)",
    "cron(0 1 5-L * ? *)", "cron(-1 1 * * ? *)", "cron(1,, 1 * * ? *)", "CRON(0 1 * * ? *)", "cron(٣ 1 * * ? *)",
]  # fmt: skip


@pytest.mark.parametrize("expression", INVALID)
def test_what_is_no_schedule(expression: str):
    with pytest.raises(InvalidSchedule):
        parse_schedule(expression)


def test_a_rate_is_counted_from_its_beginning():
    rate = Rate(300)
    assert next_after(rate, START, START) == START + timedelta(minutes=5)
    assert next_after(rate, START - timedelta(hours=1), START) == START + timedelta(minutes=5)
    assert next_after(rate, START + timedelta(minutes=5), START) == START + timedelta(minutes=10)
    assert last_until(rate, START + timedelta(minutes=4), START) is None
    assert last_until(rate, START + timedelta(minutes=14), START) == START + timedelta(minutes=10)


# --- properties: the fields of an expression are made together with a plain test of a minute ---

minutes_of_day = st.integers(0, 59).map(str) | st.sampled_from(["*", "*/7", "3/20", "10-14", "50-5", "1,2,30-33"])
hours = st.integers(0, 23).map(str) | st.sampled_from(["*", "*/5", "8-17", "22-2", "0,12"])
month_days = st.integers(1, 31).map(str) | st.sampled_from(["*", "L", "1W", "15W", "31W", "1,L", "*/10", "28-31"])
week_days = st.integers(1, 7).map(str) | st.sampled_from(["*", "MON-FRI", "FRI-MON", "L", "6L", "3#5", "SUN#1", "2,4L"])
months = st.integers(1, 12).map(str) | st.sampled_from(["*", "JAN-MAR", "NOV-FEB", "*/3"])
years = st.sampled_from(["*", "2024-2028", "2026", "2025/2"])
days = st.tuples(month_days, st.just("?")) | st.tuples(st.just("?"), week_days)
expressions = st.builds(
    lambda minute, hour, day, month, year: f"cron({minute} {hour} {day[0]} {month} {day[1]} {year})",
    minutes_of_day, hours, days, months, years,
)  # fmt: skip
moments = st.integers(0, 4 * 366 * 86_400).map(
    lambda seconds: datetime(2023, 12, 25, tzinfo=UTC) + timedelta(seconds=seconds)
)


def fires_at(cron: Cron, moment: datetime) -> bool:
    """Whether all fields fit, each looked at for itself."""
    fits = moment.minute in cron.minutes and moment.hour in cron.hours
    fits = fits and moment.month in cron.months and moment.year in cron.years
    return fits and moment.second == moment.microsecond == 0 and _fires_on(cron, moment)


def _fires_on(cron: Cron, moment: datetime) -> bool:
    length = calendar.monthrange(moment.year, moment.month)[1]
    if isinstance(cron.days, MonthDays):
        if moment.day in cron.days.numbers or (cron.days.last and moment.day == length):
            return True
        return any(day <= length and _working_day(moment, day) == moment.day for day in cron.days.nearest)
    weekday = moment.isoweekday() % 7 + 1
    return (
        weekday in cron.days.numbers
        or (weekday in cron.days.last and moment.day + 7 > length)
        or (weekday, (moment.day + 6) // 7) in cron.days.nth
    )


def _working_day(month: datetime, wanted: int) -> int:
    length = calendar.monthrange(month.year, month.month)[1]
    working = [day for day in range(1, length + 1) if month.replace(day=day).isoweekday() < 6]
    # On a tie, Saturday goes back and Sunday goes forward: the distances 1 differ from those of the other side, 2.
    return min(working, key=lambda day: abs(day - wanted))


@settings(max_examples=200, deadline=None)
@given(expressions, moments)
def test_the_next_firing_fits_and_none_is_skipped(expression: str, moment: datetime):
    cron = parse_schedule(expression)
    assert isinstance(cron, Cron)
    following = next_after(cron, moment, START)
    if following is None:
        assert max(cron.years) <= 2028 or not _ever_fires(cron)
        return
    assert following > moment
    assert fires_at(cron, following)
    # Nothing in between: every minute of the next day, and every day up to the firing at one of its minutes.
    at = moment.replace(second=0, microsecond=0)
    for minute in range(1, 1440):
        between = at + timedelta(minutes=minute)
        if between >= following:
            break
        assert not fires_at(cron, between)
    hour, minute = min(cron.hours), min(cron.minutes)
    day = (moment + timedelta(days=1)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    while day < following:
        assert not fires_at(cron, day)
        day += timedelta(days=1)


def _ever_fires(cron: Cron) -> bool:
    days = (datetime(year, month, day, min(cron.hours), min(cron.minutes), tzinfo=UTC)
            for year in sorted(cron.years)[-9:] for month in cron.months
            for day in range(1, calendar.monthrange(year, month)[1] + 1))  # fmt: skip
    return any(fires_at(cron, day) for day in days)


@settings(max_examples=200, deadline=None)
@given(expressions | st.sampled_from(["rate(1 minute)", "rate(7 hours)", "rate(3 days)"]), moments)
def test_the_last_firing_and_the_next_are_neighbours(expression: str, moment: datetime):
    schedule = parse_schedule(expression)
    anchor = datetime(2023, 12, 1, 3, 4, tzinfo=UTC)
    following = next_after(schedule, moment, anchor)
    assume(following is not None)
    assert following is not None
    last = last_until(schedule, moment, anchor)
    assert last_until(schedule, following, anchor) == following
    assert last_until(schedule, following - timedelta(seconds=1), anchor) == last
    if last is not None:
        assert last <= moment
        assert next_after(schedule, last, anchor) == following


@given(st.text(max_size=20) | st.text("0123456789*/,-?LW# ", max_size=20).map(lambda text: f"cron({text})"))
def test_any_text_is_a_schedule_or_refused(text: str):
    with contextlib.suppress(InvalidSchedule):
        parse_schedule(text)
