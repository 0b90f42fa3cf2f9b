"""Whatever is asked of whatever attempts, a report says what the rows say."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from app.usage.figures import UsageFigures
from app.usage.queries import GROUPINGS
from app.usage.records import AttemptEnd, AttemptStart, CostSource, Status
from tests.unit.ledger_rows import attempt, ended
from tests.unit.usage_reports import ZONES, Pair, keys, query, reported

maybe = st.none() | st.integers(0, 10**9)
names = st.sampled_from(["a", "b", "ü"])


@st.composite
def attempts(draw: st.DrawFn) -> list[Pair]:
    """Rows round the nights in which clocks change, with every status and unknown numbers."""
    pairs: list[Pair] = []
    for number in range(draw(st.integers(0, 25))):
        around = draw(st.sampled_from([datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]))
        start = attempt(
            str(number),
            request_id=draw(names),
            attempt=draw(st.integers(1, 2)),
            model=draw(names),
            agent=draw(st.none() | names),
            workspace_profile_id=draw(names),
            created_at=around + timedelta(milliseconds=draw(st.integers(-(10**8), 2 * 10**8))),
        )
        end = ended(
            status=draw(st.sampled_from([Status.OK, Status.ERROR, Status.CANCELLED])),
            latency_ms=draw(st.integers(0, 10**5)),
            input_tokens=draw(maybe),
            cached_input_tokens=draw(maybe),
            output_tokens=draw(maybe),
            cost_micro_usd=draw(maybe),
            cost_source=draw(st.sampled_from(CostSource)),
        )
        pairs.append((start, draw(st.sampled_from([end, end, end, None]))))
    return pairs


SUMMED = ("input_tokens", "cached_input_tokens", "output_tokens", "cost_micro_usd")
ADDITIVE = (
    *SUMMED, "requests", "attempts", "ok", "errors", "cancelled", "pending", "cost_unknown", "cost_estimated",
    "estimated_cost_micro_usd",
)  # fmt: skip


def expected_key(name: str, start: AttemptStart, zone: ZoneInfo) -> str | None:
    local = start.created_at.astimezone(zone)
    year, week, _ = local.isocalendar()
    hour = local.replace(minute=0, second=0, microsecond=0)
    values: Mapping[str, str | None] = {
        "hour": f"{hour:%Y-%m-%dT%H:00}{hour.isoformat()[-6:]}",
        "day": f"{local:%Y-%m-%d}",
        "week": f"{year}-W{week:02}",
        "month": f"{local:%Y-%m}",
        "workspace": start.workspace_profile_id,
        "session": start.session_id,
    }
    return values[name] if name in values else getattr(start, name)


@settings(max_examples=25, deadline=None)
@given(attempts(), st.lists(st.sampled_from(GROUPINGS), min_size=1, max_size=3, unique=True), st.sampled_from(ZONES))
def test_groups_are_the_totals_are_the_rows(pairs: list[Pair], group_by: list[str], tz: str) -> None:
    asked = query("2026-01-01", "2027-01-01", group_by=",".join(group_by), tz=tz)
    (report,) = asyncio.run(reported(pairs, asked))
    for name in ADDITIVE:
        assert sum(getattr(group.figures, name) for group in report.groups) == getattr(report.totals, name)
    for name in SUMMED:
        assert getattr(report.totals, name) == sum(getattr(end, name) or 0 for _, end in pairs if end)
    rows: dict[tuple[str | None, ...], list[Pair]] = defaultdict(list)
    for pair in pairs:
        rows[tuple(expected_key(name, pair[0], asked.tz) for name in group_by)].append(pair)
    assert set(keys(report)) == rows.keys()
    assert len(report.groups) == len(rows)
    for key, group in zip(keys(report), report.groups, strict=True):
        assert group.figures.attempts == len(rows[key])
        assert group.figures.requests == sum(start.attempt == 1 for start, _ in rows[key])
        assert group.figures.cost_micro_usd == sum(end.cost_micro_usd or 0 for _, end in rows[key] if end)


NIGHTS = [
    datetime(2026, month, day, tzinfo=UTC) for month, day in ((3, 8), (3, 29), (4, 4), (10, 3), (10, 25), (11, 1))
]
"""When clocks change in New York, Berlin and on Lord Howe."""


@st.composite
def nightly(draw: st.DrawFn) -> list[Pair]:
    """Attempts about the nights and the edges of buckets, to the millisecond."""
    pairs: list[Pair] = []
    for number in range(draw(st.integers(0, 30))):
        step = draw(st.sampled_from([900_000, 3_600_000, 86_400_000, 1]))
        shift = draw(st.integers(-40, 40)) * step + draw(st.integers(-1, 1))
        start = attempt(
            str(number),
            attempt=draw(st.integers(1, 2)),
            model=draw(names),
            task_type=draw(names),
            agent=draw(st.none() | names),
            session_id=draw(st.none() | names),
            created_at=draw(st.sampled_from(NIGHTS)) + timedelta(milliseconds=shift),
        )
        status = draw(st.sampled_from([Status.OK, Status.ERROR, Status.CANCELLED]))
        end = ended(status=status, input_tokens=draw(maybe), output_tokens=draw(maybe), cost_micro_usd=draw(maybe))
        pairs.append((start, draw(st.sampled_from([end, end, end, None]))))
    return pairs


moments = st.builds(
    lambda night, step, count, off: night + timedelta(milliseconds=step * count + off),
    st.sampled_from(NIGHTS),
    st.sampled_from([900_000, 3_600_000, 86_400_000, 59_999]),
    st.integers(-40, 40),
    st.integers(-1, 1),
)
filtered = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("model", "task_type", "agent", "session"), names)
    | {"status": st.sampled_from(["ok", "error", "pending"])},
)


@settings(max_examples=60, deadline=None)
@given(
    nightly(),
    st.lists(st.sampled_from(GROUPINGS), max_size=3, unique=True),
    st.sampled_from(ZONES),
    moments,
    moments,
    filtered,
)
def test_any_range_and_filter_is_what_the_rows_say(
    pairs: list[Pair], group_by: list[str], tz: str, one: datetime, other: datetime, filters: dict[str, str]
) -> None:
    first, last = min(one, other), max(one, other)
    asked = query(first.isoformat(), last.isoformat(), group_by=",".join(group_by), tz=tz, **filters)
    (report,) = asyncio.run(reported(pairs, asked))
    rows: dict[tuple[str | None, ...], list[Pair]] = defaultdict(list)
    for start, end in pairs:
        if first <= start.created_at < last and passes(start, end, filters):
            rows[tuple(expected_key(name, start, asked.tz) for name in group_by)].append((start, end))
    assert added(report.totals) == expected([pair for group in rows.values() for pair in group])
    if group_by:
        found = {tuple(group.key.values()): added(group.figures) for group in report.groups}
        assert found == {key: expected(group) for key, group in rows.items()}


def passes(start: AttemptStart, end: AttemptEnd | None, filters: Mapping[str, str]) -> bool:
    known = {
        "model": start.model,
        "task_type": start.task_type,
        "agent": start.agent,
        "session": start.session_id,
        "status": "pending" if end is None else end.status.value,
    }
    return all(known[name] == value for name, value in filters.items())


def added(figures: UsageFigures) -> tuple[int, ...]:
    return (figures.requests, figures.attempts, figures.ok, figures.pending, *(getattr(figures, n) for n in SUMMED))


def expected(pairs: Sequence[Pair]) -> tuple[int, ...]:
    ends = [end for _, end in pairs]
    return (
        sum(start.attempt == 1 for start, _ in pairs),
        len(pairs),
        sum(end is not None and end.status is Status.OK for end in ends),
        ends.count(None),
        *(sum(getattr(end, name) or 0 for end in ends if end) for name in SUMMED),
    )
