"""Calendar periods where the person is: when an hour, a day, a week or a month began, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` (inclusive) to `end` (exclusive), both in UTC."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


def span_of(period: str, now: datetime, zone: tzinfo | None) -> Span:
    """The `hour`, `day`, `week` (from Monday) or `month` of `zone` that `now` lies in; None is the machine's zone.

    Days are the zone's days, of 23 or 25 hours where its clock is changed. Hours are counted from the full hour of the
    local clock. A midnight that does not exist is the moment of the change; of one that comes twice, the first counts.
    `now` is aware. Raises `ValueError` for another period.
    """
    local = now.astimezone(zone)
    if period == "hour":
        start = now.astimezone(UTC) - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return Span(start, start + timedelta(hours=1))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    if period == "day":
        begin, end = midnight, midnight + timedelta(days=1)
    elif period == "week":
        begin = midnight - timedelta(days=midnight.weekday())
        end = begin + timedelta(days=7)
    elif period == "month":
        begin = midnight.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    else:
        raise ValueError(f"{period} is not a calendar period")
    return Span(_utc(begin, zone), _utc(end, zone))


def _utc(naive: datetime, zone: tzinfo | None) -> datetime:
    # A naive time is the machine's, by the offset that holds on that day.
    return (naive if zone is None else naive.replace(tzinfo=zone)).astimezone(UTC)
