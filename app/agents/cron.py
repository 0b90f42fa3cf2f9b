"""When an agent is due: cron lines, names and intervals, in a time zone. Pure: every moment is passed in.

    30 6 * * 1-5          minute, hour, day of the month, month, day of the week (0 or 7 is Sunday)
    */10 * * * * *        the same with the second in front
    @daily                @hourly @daily @midnight @weekly @monthly @yearly @annually
    every 30m             s, m, h or d; counted from midnight UTC of 1970-01-01, so no restart moves it

cronsim reads the fields (day or weekday where both are given, `L`, `MON#2`) and knows Debian's rules for the two nights
a year when clocks change: what stands at a fixed time is due once, also in the night that has no such time (then when
the clocks have moved on) or has it twice (then the first time); what goes by `*` in the minute or hour goes by real
time. cronsim applies them to five fields only. Here they hold with seconds too: the first five decide the minute.
"""

from __future__ import annotations

import copy
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError
from cronsim.cronsim import FIELD_NAMES, Field

from app.config.loader import Config
from app.errors import ConfigProblem

NAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST_TEXT: Final = 256
SHORTEST_INTERVAL: Final = timedelta(seconds=1)
LONGEST_INTERVAL: Final = timedelta(days=366)
RANGES: Final = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L or LW",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 (0 and 7 are Sunday) or SUN-SAT",
}
_INTERVAL = re.compile(r"every\s+(\d{1,9})\s*(s|m|h|d)", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEARCHED_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_FAST_DAYS = 400
"""How far the quick search goes before it leaves the rest to cronsim (29 February, say)."""


class BadSchedule(ValueError):
    """The line cannot be read. `field` is the cron field's name, `schedule` where it is the whole."""

    def __init__(self, message: str, field: str = "schedule") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so many seconds since the epoch."""

    text: str
    every: timedelta


@dataclass(frozen=True, slots=True)
class CronLine:
    """A cron line that was read. Made by `parse`."""

    text: str
    seconds: tuple[int, ...]
    """Within the minutes the five fields give, rising."""
    five: CronSim = field(compare=False, repr=False)
    """Read once; copied for every search, because it moves."""
    minutes: tuple[int, ...] = field(compare=False, repr=False)
    hours: tuple[int, ...] = field(compare=False, repr=False)
    first: time = field(compare=False, repr=False)
    """Of a day that matches."""
    weekdays: tuple[bool, ...] | None = field(compare=False, repr=False)
    """By a date's ordinal modulo 7 (0 is Sunday): whether the weekday alone rules it out; None: it never does."""


Schedule = Interval | CronLine


@lru_cache(maxsize=16_384)
def parse(text: str) -> Schedule:
    """The schedule that `text` writes. Raises `BadSchedule`, which names the field and what it may be."""
    line = text.strip()
    if not line or len(text) > LONGEST_TEXT:
        raise BadSchedule(f"must be a cron line of 1 to {LONGEST_TEXT} characters, such as `0 6 * * *`")
    if line.lower().startswith("every"):
        return _interval(line)
    if line.startswith("@"):
        if line.lower() not in NAMES:
            raise BadSchedule(f"`{_shown(line)}` is not a known name; there are {', '.join(NAMES)}")
        return _cron_line(line, NAMES[line.lower()])
    return _cron_line(line, line)


def next_due(schedule: Schedule, after: datetime, zone: tzinfo = UTC) -> datetime | None:
    """The first due moment later than `after` (aware), in UTC and whole seconds; None: there is none in 50 years."""
    after = after.astimezone(UTC)
    try:
        if isinstance(schedule, Interval):
            steps = (after - _EPOCH) // schedule.every + 1
            return _EPOCH + steps * schedule.every
        return _quick(schedule, after, zone) or _searched(schedule, after, zone)
    except OverflowError:  # beyond the year 9999
        return None


def due_times(schedule: Schedule, after: datetime, zone: tzinfo = UTC) -> Iterator[datetime]:
    """Every due moment later than `after`, in order."""
    moment = next_due(schedule, after, zone)
    while moment is not None:
        yield moment
        moment = next_due(schedule, moment, zone)


def check_schedules(config: Config) -> Iterator[ConfigProblem]:
    """For `config.load(path, checks)`: every schedule of agents.yaml that cannot be read or is never due."""
    for index, agent in enumerate(config.agents.agents):
        if agent.schedule is None:
            continue
        try:
            parse(agent.schedule)
        except BadSchedule as error:
            yield ConfigProblem("agents.yaml", f"agents[{index}].schedule", str(error))


def _interval(line: str) -> Interval:
    match = _INTERVAL.fullmatch(line)
    if match is None:
        raise BadSchedule("must be `every` with a whole number of s, m, h or d, such as `every 30m`")
    every = timedelta(seconds=int(match[1]) * _UNITS[match[2].lower()])
    if not SHORTEST_INTERVAL <= every <= LONGEST_INTERVAL:
        raise BadSchedule("an interval must be from 1 second to 366 days")
    return Interval(line, every)


def _cron_line(text: str, line: str) -> CronLine:
    parts = line.upper().split()
    if len(parts) not in (5, 6):
        raise BadSchedule(
            f"has {len(parts)} field{'' if len(parts) == 1 else 's'}; expected five (minute, hour, day-of-month, "
            "month, day-of-week), or six with the second in front"
        )
    for place, part in enumerate(parts, start=6 - len(parts)):
        _check_field(Field(place), part)
    seconds = Field.SECOND.parse(parts[0]) if len(parts) == 6 else {0}
    try:
        five = CronSim(" ".join(parts[-5:]), _SEARCHED_FROM)
        if next(copy.copy(five), None) is None:
            raise CronSimError(Field.DAY.msg())
    except CronSimError:
        raise BadSchedule(
            f"day-of-month: `{_shown(parts[-3])}` never comes in the months and weekdays that are given", "day-of-month"
        ) from None
    second, minute, hour = _numbers(seconds), _numbers(five.minutes), _numbers(five.hours)
    plain = five.day_and and all(isinstance(item, int) for item in five.weekdays)
    weekdays = tuple(day in five.weekdays or (day == 0 and 7 in five.weekdays) for day in range(7)) if plain else None
    return CronLine(text, second, five, minute, hour, time(hour[0], minute[0], second[0]), weekdays)


def _check_field(kind: Field, part: str) -> None:
    name = FIELD_NAMES[kind]
    try:
        kind.parse(part)
    except (CronSimError, AssertionError):  # the assertion: a step after `MON#1`
        expected = f"expected {RANGES[name]}, lists, ranges, steps, or *"
        raise BadSchedule(f"{name}: `{_shown(part)}` is not right; {expected}", name) from None


def _shown(part: str) -> str:
    text = "".join(c for c in part if c.isprintable())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _numbers(items: object) -> tuple[int, ...]:
    assert isinstance(items, set)
    return tuple(sorted(items))


# -- searching -----------------------------------------------------------------------------------------------------


def _quick(line: CronLine, after: datetime, zone: tzinfo) -> datetime | None:
    """The answer by counting on the wall clock; None where clocks change nearby, or it is far away.

    Exact wherever neither `after` nor the answer stands near an hour that a change repeats or skips: the first time on
    the wall later than `after` that matches is then the first moment that matches.
    """
    offset = _steady_offset(zone, after.toordinal())
    if offset is None:
        return None
    found = _next_on_wall(line, after.replace(microsecond=0, tzinfo=None) + offset)
    if found is None:
        return None
    offset = _steady_offset(zone, found.toordinal())
    return None if offset is None else (found - offset).replace(tzinfo=UTC)


@lru_cache(maxsize=65_536)
def _steady_offset(zone: tzinfo, ordinal: int) -> timedelta | None:
    """The zone's offset to UTC where it is the same from two days before this date to three days after it."""
    day = datetime.combine(date.fromordinal(ordinal), time(), UTC)
    around = {(day + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in range(-48, 73, 12)}
    return around.pop() if len(around) == 1 else None


def _next_on_wall(line: CronLine, local: datetime) -> datetime | None:
    today = local.toordinal()
    for day in _matching_days(line, today):
        if day.toordinal() > today:
            return datetime.combine(day, line.first)
        if (moment := _time_after(line, local.time())) is not None:
            return datetime.combine(day, moment)
    return None


def _matching_days(line: CronLine, start: int) -> Iterator[date]:
    five, on_weekdays = line.five, line.weekdays
    for ordinal in range(start, start + _FAST_DAYS):
        # Counting weekdays costs next to nothing; most days of most lines need no more.
        if on_weekdays is not None and not on_weekdays[ordinal % 7]:
            continue
        day = date.fromordinal(ordinal)
        if day.month in five.months and five.match_day(day):
            yield day


def _time_after(line: CronLine, moment: time) -> time | None:
    """The first time of a matching day later than `moment`."""
    hours, minutes, seconds = line.hours, line.minutes, line.seconds
    hour = bisect_left(hours, moment.hour)
    if hour < len(hours) and hours[hour] == moment.hour:
        minute = bisect_left(minutes, moment.minute)
        if minute < len(minutes) and minutes[minute] == moment.minute:
            second = bisect_left(seconds, moment.second + 1)
            if second < len(seconds):
                return time(moment.hour, moment.minute, seconds[second])
            minute += 1
        if minute < len(minutes):
            return time(moment.hour, minutes[minute], seconds[0])
        hour += 1
    return time(hours[hour], minutes[0], seconds[0]) if hour < len(hours) else None


def _searched(line: CronLine, after: datetime, zone: tzinfo) -> datetime | None:
    """The answer as cronsim gives it, minute by minute."""
    # Its text decides about its special nights, so it is made anew: a copy would keep the zone it was read in.
    start = after.replace(second=0, microsecond=0) - _SECOND
    for minute in CronSim(" ".join(line.five.parts[1:]), start.astimezone(zone)):
        begin = minute.astimezone(UTC)
        if begin + _MINUTE <= after:  # in the repeated hour cronsim answers with the first of the two
            continue
        for second in line.seconds:
            if (moment := begin + timedelta(seconds=second)) > after:
                return moment
    return None
