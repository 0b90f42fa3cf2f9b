"""What the figures of a period say: against the one before, where it is heading, what costs most, what was saved.

Pure: it is given reports and makes sentences' worth of values out of them. Projections are of what is known; attempts
of unknown cost are counted beside, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.routing.catalog import Price
from app.routing.locality import Location
from app.usage.figures import UsageFigures
from app.usage.pricing import TokenCounts, cost, to_usd
from app.usage.reports import UsageGroup, UsageReport

PERIODS = ("hour", "day", "week", "month")
MOST_PATTERNS = 5
LEAST_SHARE = 0.2
"""Of a period's cost; what takes less is no pattern worth a sentence."""


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar period in somebody's zone, and the one before; all aware, ends exclusive."""

    name: str
    start: datetime
    end: datetime
    previous_start: datetime


@dataclass(frozen=True, slots=True)
class Projection:
    """`cost_usd`: of the whole period if the rest goes on like the time that has passed. None before any has."""

    elapsed_share: float
    usd_per_hour: float | None
    usd_per_day: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """`previous`: the whole period before. `previous_so_far`: its part up to the same time. `share`: of the cost so
    far against that part; 0.25 is a quarter more, None where that cost nothing."""

    previous: UsageFigures
    previous_so_far: UsageFigures
    share: float | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """What takes a large share of the cost; `text` says it in a sentence."""

    key: Mapping[str, str | None]
    cost_usd: float
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Savings:
    """What the local models' tokens would have cost at the reference model's price, less what they did.

    `saved_usd` is None where there is no reference or its price is unknown; `reference` says which was used.
    """

    reference: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    saved_usd: float | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """People's scores of a model's answers to one task type: how many, and their mean (1 to 5)."""

    count: int
    mean: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model on a task type that more than one model has worked on."""

    task_type: str
    model: str
    figures: UsageFigures
    cost_per_request_usd: float | None
    verdict: Verdict | None


def period_of(name: str, now: datetime, zone: ZoneInfo) -> Period:
    """The period that `now` is in; weeks begin on Monday. Raises ValueError for a name that is none."""
    local = now.astimezone(zone)
    if name == "hour":
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        start = now.astimezone(UTC) - past
        return Period(name, start, start + timedelta(hours=1), start - timedelta(hours=1))
    day = local.date()
    match name:
        case "day":
            first, following, before = day, day + timedelta(days=1), day - timedelta(days=1)
        case "week":
            first = day - timedelta(days=day.weekday())
            following, before = first + timedelta(days=7), first - timedelta(days=7)
        case "month":
            first = day.replace(day=1)
            following = (first + timedelta(days=32)).replace(day=1)
            before = (first - timedelta(days=1)).replace(day=1)
        case _:
            raise ValueError(f"not one of {', '.join(PERIODS)}")
    start, end, previous = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (first, following, before))
    return Period(name, start, end, previous)


def project(period: Period, now: datetime, so_far: UsageFigures) -> Projection:
    """Straight on: the cost so far over the time so far."""
    passed, whole = now - period.start, period.end - period.start
    share = min(max(passed / whole, 0.0), 1.0)
    if passed <= timedelta() or so_far.cost_usd is None:
        return Projection(share, None, None, None)
    per_hour = so_far.cost_usd / (passed / timedelta(hours=1))
    return Projection(share, per_hour, per_hour * 24, so_far.cost_usd / share)


def change(so_far: UsageFigures, previous: UsageFigures, previous_so_far: UsageFigures) -> Change:
    before = previous_so_far.cost_micro_usd
    return Change(previous, previous_so_far, so_far.cost_micro_usd / before - 1 if before else None)


def patterns(reports: Sequence[UsageReport], period: str) -> tuple[Pattern, ...]:
    """The groups with the largest shares, of reports by one grouping each: "debugging is 60 % of this week's cost"."""
    found = [
        Pattern(group.key, group.figures.cost_usd, group.figures.cost_share, _sentence(group, period))
        for report in reports
        if len(report.groups) > 1
        for group in report.groups
        if group.figures.cost_usd and group.figures.cost_share and group.figures.cost_share >= LEAST_SHARE
    ]
    return tuple(sorted(found, key=lambda pattern: -pattern.share)[:MOST_PATTERNS])


def _sentence(group: UsageGroup, period: str) -> str:
    ((name, value),) = group.key.items()
    what = value if value is not None else f"no {name.replace('_', ' ')}"
    when = {"hour": "this hour's", "day": "today's", "week": "this week's", "month": "this month's"}[period]
    share = group.figures.cost_share or 0.0
    return f"{what} is {share:.0%} of {when} cost".replace("%", " %")


def savings(by_location: Sequence[UsageGroup], reference: str | None, price: Price | None) -> Savings:
    """`by_location`: the groups of a report by location; `price`: the reference model's."""
    local = [group.figures for group in by_location if group.key["location"] != Location.CLOUD]
    into, out = (sum(getattr(f, name) for f in local) for name in ("input_tokens", "output_tokens"))
    requests = sum(figures.requests for figures in local)

    def told(saved: float | None, reason: str | None) -> Savings:
        return Savings(reference, requests, into, out, saved, reason)

    if reference is None:
        return told(None, "no reference model: name one as `usage.reference_model` in profiles.yaml")
    elsewhere = cost(TokenCounts(into, out), price)
    if elsewhere is None:
        return told(None, f"the price of {reference} is not known")
    return told(to_usd(elsewhere - sum(figures.cost_micro_usd for figures in local)), None)


def comparisons(report: UsageReport, verdicts: Mapping[tuple[str, str], Verdict]) -> tuple[Comparison, ...]:
    """Model against model, of a report by task type and model; `verdicts` by the same two."""
    by_task: dict[str, list[UsageGroup]] = {}
    for group in report.groups:
        by_task.setdefault(str(group.key["task_type"]), []).append(group)
    return tuple(
        Comparison(
            task,
            model := str(group.key["model"]),
            group.figures,
            _per_request(group.figures),
            verdicts.get((task, model)),
        )
        for task, groups in sorted(by_task.items())
        if len(groups) > 1
        for group in groups
    )


def _per_request(figures: UsageFigures) -> float | None:
    """Of the attempts that went well, whose cost is known as far as it is."""
    return figures.cost_usd / figures.ok if figures.ok and figures.cost_usd is not None else None
