"""Cron lines: the source document's examples, the clocks of two cities, and croniter as an independent reader."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from app.agents import cron
from app.agents.cron import BadSchedule, CronLine, check_schedules, due_times, next_due, parse
from tests.unit.config_problems import problems_of

MOMENTS = st.integers(1_700_000_000, 1_900_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def at(text: str, zone: ZoneInfo | None = None) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=zone or UTC) if moment.tzinfo is None else moment


def local(line: str, after: str, zone: ZoneInfo, count: int = 3) -> list[str]:
    """The next due times on the wall of `zone`, with their offset."""
    times = islice(due_times(parse(line), at(after, zone), zone), count)
    return [moment.astimezone(zone).strftime("%m-%d %H:%M:%S %z") for moment in times]


@pytest.mark.parametrize(
    ("line", "expected"),
    [  # section 8 of the source document; 2026-11-27 is a Friday
        ("0 6 * * *", ["11-27 06:00:00", "11-28 06:00:00"]),
        ("*/30 * * * * *", ["11-26 12:00:30", "11-26 12:01:00"]),
        ("0 */4 * * *", ["11-26 16:00:00", "11-26 20:00:00"]),
        ("0 9 * * 1-5", ["11-27 09:00:00", "11-30 09:00:00"]),
        ("0 9 * * 0", ["11-29 09:00:00", "12-06 09:00:00"]),
        ("0 9 * * 7", ["11-29 09:00:00", "12-06 09:00:00"]),
        ("0 9 1 * 1", ["11-30 09:00:00", "12-01 09:00:00"]),
        ("0 9 * * MON#1", ["12-07 09:00:00", "01-04 09:00:00"]),
        ("0 9 L * *", ["11-30 09:00:00", "12-31 09:00:00"]),
        ("15 0 12 * * *", ["11-26 12:00:15", "11-27 12:00:15"]),
        ("@hourly", ["11-26 13:00:00", "11-26 14:00:00"]),
        ("@Daily", ["11-27 00:00:00", "11-28 00:00:00"]),
        ("@weekly", ["11-29 00:00:00", "12-06 00:00:00"]),
        ("@yearly", ["01-01 00:00:00", "01-01 00:00:00"]),
        ("every 30m", ["11-26 12:30:00", "11-26 13:00:00"]),
        ("every 7 s", ["11-26 12:00:04", "11-26 12:00:11"]),
    ],
)
def test_a_table_of_lines(line: str, expected: list[str]) -> None:
    times = islice(due_times(parse(line), at("2026-11-26 12:00:00")), 2)
    assert [moment.strftime("%m-%d %H:%M:%S") for moment in times] == expected


def test_29_february_comes_every_four_years_and_not_in_2100() -> None:
    times = islice(due_times(parse("0 0 29 2 *"), at("2092-03-01")), 3)
    assert [moment.year for moment in times] == [2096, 2104, 2108]


@pytest.mark.parametrize(
    ("line", "after", "zone", "expected"),
    [  # spring: there is no 02:30; it is due when the clocks have moved on, once
        ("30 2 * * *", "2026-03-28 12:00", BERLIN, ["03-29 03:00:00 +0200", "03-30 02:30:00 +0200"]),
        ("0,30 2 * * *", "2026-03-28 12:00", BERLIN, ["03-29 03:00:00 +0200", "03-30 02:00:00 +0200"]),
        ("0 2,3 * * *", "2026-03-28 12:00", BERLIN, ["03-29 03:00:00 +0200", "03-30 02:00:00 +0200"]),
        ("30 2 * * *", "2026-03-07 12:00", NEW_YORK, ["03-08 03:00:00 -0400", "03-09 02:30:00 -0400"]),
        ("20 30 2 * * *", "2026-03-28 12:00", BERLIN, ["03-29 03:00:20 +0200", "03-30 02:30:20 +0200"]),
        # autumn: 02:30 (in New York 01:30) comes twice; it is due the first time
        ("30 2 * * *", "2026-10-24 12:00", BERLIN, ["10-25 02:30:00 +0200", "10-26 02:30:00 +0100"]),
        ("30 1 * * *", "2026-10-31 12:00", NEW_YORK, ["11-01 01:30:00 -0400", "11-02 01:30:00 -0500"]),
        ("20 30 2 * * *", "2026-10-24 12:00", BERLIN, ["10-25 02:30:20 +0200", "10-26 02:30:20 +0100"]),
        # what goes by `*` goes by real time: every half hour is every half hour
        ("*/30 * * * *", "2026-03-29 01:00", BERLIN, ["03-29 01:30:00 +0100", "03-29 03:00:00 +0200"]),
        ("*/30 * * * *", "2026-10-25 02:15", BERLIN, ["10-25 02:30:00 +0200", "10-25 02:00:00 +0100"]),
        ("0 * * * *", "2026-11-01 00:30", NEW_YORK, ["11-01 01:00:00 -0400", "11-01 01:00:00 -0500"]),
        ("every 1h", "2026-10-25 01:30", BERLIN, ["10-25 02:00:00 +0200", "10-25 02:00:00 +0100"]),
    ],
)
def test_the_nights_when_clocks_change(line: str, after: str, zone: ZoneInfo, expected: list[str]) -> None:
    assert local(line, after, zone, len(expected)) == expected


def test_asked_within_the_repeated_hour_nothing_comes_twice() -> None:
    second_time = datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN, fold=1)
    due = next_due(parse("30 2 * * *"), second_time, BERLIN)
    assert due == at("2026-10-26 01:30+00:00")


@pytest.mark.parametrize(
    ("line", "field", "says"),
    [
        ("* * *", "schedule", "has 3 fields; expected five"),
        ("* * * * * * *", "schedule", "has 7 fields"),
        ("60 * * * *", "minute", "minute: `60` is not right; expected 0-59"),
        ("60 0 * * * *", "second", "second: `60`"),
        ("0 24 * * *", "hour", "hour: `24`"),
        ("0 0 30 2 *", "day-of-month", "day-of-month: `30` never comes"),
        ("0 0 31 4,6 *", "day-of-month", "never comes"),
        ("0 0 0 * *", "day-of-month", "day-of-month: `0`"),
        ("0 0 * 13 *", "month", "month: `13`"),
        ("0 0 * * 8", "day-of-week", "day-of-week: `8`"),
        ("0 0 * * MON#1/2", "day-of-week", "day-of-week"),
        ("*/0 * * * *", "minute", "minute"),
        ("5-1 * * * *", "minute", "minute"),
        ("@reboot", "schedule", "is not a known name"),
        ("every day", "schedule", "such as `every 30m`"),
        ("every 0s", "schedule", "from 1 second"),
        ("every 400d", "schedule", "366 days"),
        ("", "schedule", "such as `0 6 * * *`"),
        ("1," * 200 + "1 * * * *", "schedule", "256 characters"),
    ],
)
def test_what_is_wrong_is_named(line: str, field: str, says: str) -> None:
    with pytest.raises(BadSchedule) as caught:
        parse(line)
    assert caught.value.field == field
    assert says in str(caught.value)


def test_a_bad_line_is_a_problem_of_the_configuration_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text('models: [{id: "builtin/extractive"}]\n')
    (tmp_path / "routing.yaml").write_text("rules: [{name: all, conditions: {}, model: builtin/extractive}]\n")
    (tmp_path / "agents.yaml").write_text(
        "agents:\n  - {name: a, schedule: '@daily'}\n  - {name: b, schedule: '60 * * * *'}\n"
    )
    (problem,) = problems_of(tmp_path, [check_schedules])
    assert (problem.file, problem.where, problem.line) == ("agents.yaml", "agents[1].schedule", 3)
    assert "minute" in problem.message


# -- an independent reader ------------------------------------------------------------------------------------------


def field(rng: random.Random, low: int, high: int, *, steps: bool = True) -> str:
    kind = rng.randrange(5 if steps else 4)
    a, b = sorted((rng.randint(low, high), rng.randint(low, high)))
    if kind == 0:
        return "*"
    if kind == 1 or (kind == 2 and a == b):
        return str(a)
    if kind == 2:
        return f"{a}-{b}"
    if kind == 3:
        return ",".join(map(str, sorted({a, b, rng.randint(low, high)})))
    return f"*/{rng.choice([2, 3, 5, 10, 15])}"


def line_of(rng: random.Random) -> str:
    """A line of five fields. Days stay under 29 and weekdays are no steps: see the differences below."""
    day, weekday = field(rng, 1, 28, steps=False), field(rng, 0, 6, steps=False)
    return " ".join([field(rng, 0, 59), field(rng, 0, 23), day, field(rng, 1, 12), weekday])


@pytest.mark.parametrize("seed", range(8))
def test_croniter_reads_the_same(seed: int) -> None:
    """In UTC and in zones, away from the changes of clocks. Where the two differ, and why they are not compared there:

    - `*/2` as day beside a weekday: Debian's cron, which cronsim follows, takes "starts with a star" as "any", so both
      must hold; croniter takes it as a choice, so one is enough.
    - In the nights when clocks change croniter repeats or leaves out by its own rules; Debian's are tested above.
    - `23-23`, a range of one: croniter takes it for the whole of the field.
    - Six fields: croniter reads the second last, cronsim first.
    """
    rng = random.Random(seed)
    compared = 0
    for _ in range(500):
        line = line_of(rng)
        zone = rng.choice([UTC, BERLIN, NEW_YORK, ZoneInfo("Asia/Kolkata")])
        start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(5 * 365 * 86_400))
        ours = next_due(parse(line), start, zone)
        assert ours is not None, line
        theirs = croniter(line, start.astimezone(zone)).get_next(datetime).astimezone(UTC)
        if zone is not UTC and (changes(start, zone, 2) or changes(min(ours, theirs), zone, 2)):
            continue
        assert ours == theirs, (line, str(zone), start)
        compared += 1
    assert compared > 450


def changes(moment: datetime, zone: object, days: int) -> bool:
    """Whether clocks change within so many days of the moment."""
    assert isinstance(zone, ZoneInfo)
    around = [moment + timedelta(days=step) for step in (-days, 0, days)]
    return len({one.astimezone(zone).utcoffset() for one in around}) > 1


@given(
    st.integers(0, 2**32),
    MOMENTS,
    st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Africa/Casablanca")]),
)
def test_the_quick_search_says_what_cronsim_says(seed: int, after: datetime, zone: ZoneInfo) -> None:
    line = parse(line_of(random.Random(seed)))
    assert isinstance(line, CronLine)
    quick = cron._quick(line, after, zone)
    if quick is not None:
        assert quick == cron._searched(line, after, zone)


@given(st.integers(0, 2**32), MOMENTS)
def test_due_times_rise_and_none_lies_between(seed: int, after: datetime) -> None:
    line = parse(line_of(random.Random(seed)))
    first = next_due(line, after, BERLIN)
    assert first is not None
    assert first > after
    assert first.microsecond == 0
    between = after + (first - after) / 2
    assert next_due(line, between, BERLIN) == first
