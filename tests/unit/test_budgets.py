"""Budgets: nothing is spent twice, whatever order things happen in; and periods are the person's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from app.config.loader import Config
from app.config.schema import AgentsFile, Budget, ProfilesFile
from app.store.database import Database
from app.usage.alerts import BudgetAlert
from app.usage.budget_states import budget_states, burn_down
from app.usage.budgets import Budgets, Reservation
from app.usage.ledger import UsageLedger
from app.usage.limits import Quote, Refusal, Spent
from app.usage.periods import Span, span_of
from app.usage.spend import Amount, Scope
from tests.unit.ledger_rows import NOW, attempt, ended

HOME = Scope("home", None, "chat")


def config(*budgets: dict[str, Any], **profile: Any) -> Config:
    """What `Budgets` reads of a configuration; the budgets are those of workspace `home`."""
    made = ProfilesFile.model_validate({"profiles": [{"id": "home", "budgets": list(budgets), **profile}]})
    found = SimpleNamespace(profiles=made, agents=AgentsFile(), default_profile=made.profiles[0])
    found.is_private = lambda workspace: made.profiles[0].block_cloud_apis
    return cast(Config, found)


def quote(most: int | None, likely: int | None = None, *, local: bool = False, tokens: int = 1000) -> Quote:
    return Quote("m", local, most, most if likely is None else likely, tokens)


class Told:
    def __init__(self) -> None:
        self.alerts: list[BudgetAlert] = []

    def alert(self, alert: BudgetAlert) -> None:
        self.alerts.append(alert)


# -- nothing is spent twice


class Spending(RuleBasedStateMachine):
    """One block budget of 1,000 micro-dollars a day, calls that cost at most what was quoted, time that passes."""

    held = Bundle("held")
    LIMIT = 1_000

    @initialize()
    def begin(self) -> None:
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.config = config({"period": "day", "limit_usd": 0.001, "on_limit": "block", "timezone": "UTC"})
        self.budgets = Budgets(lambda: self.config, lambda: self.now)
        self.spent: dict[Any, int] = {}
        self.open: set[Reservation] = set()

    @rule(target=held, most=st.integers(0, 600), share=st.floats(0.1, 1))
    def reserve(self, most: int, share: float) -> Any:
        found = self.budgets.reserve(HOME, quote(most, int(most * share)))
        if isinstance(found, Refusal):
            assert most > 0
            return None
        self.open.add(found)
        return found

    @rule(reservation=consumes(held), share=st.floats(0, 1))
    def settle(self, reservation: Reservation | None, share: float) -> None:
        if reservation is None:
            return
        cost = int((reservation.quote.most or 0) * share)
        for _ in range(2):  # a second time changes nothing
            self.budgets.settle(reservation, cost, 0)
        self.spent[reservation.at.date()] = self.spent.get(reservation.at.date(), 0) + cost
        self.open.discard(reservation)

    @rule(reservation=held)
    def begin_the_call(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            assert self.budgets.begin(reservation) == self.now

    @rule(reservation=consumes(held))
    def release(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            self.budgets.release(reservation)
            self.open.discard(reservation)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def the_configuration_is_read_anew(self) -> None:
        self.config = config({"period": "day", "limit_usd": 0.001, "on_limit": "block", "timezone": "UTC"})

    @invariant()
    def it_adds_up(self) -> None:
        (meter,) = self.budgets.meters()
        today = [r for r in self.open if r.at.date() == self.now.date()]
        assert meter.used == self.spent.get(self.now.date(), 0)
        assert meter.reserved == sum(r.quote.most or 0 for r in today)
        assert meter.running == sum(bool(r.quote.most) for r in today)
        single = max((r.quote.most or 0 for r in self.open), default=600)
        assert 0 <= meter.used + meter.reserved <= self.LIMIT + max(single, 600)
        if len(today) > 1:
            assert meter.reserved <= self.LIMIT or meter.running == 1


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# -- one decision

DAY = {"period": "day", "limit_usd": 1.0, "timezone": "UTC"}


def reserve(budget: dict[str, Any], asked: Quote, spent: int = 0) -> str | None:
    budgets = Budgets(lambda: made, lambda: NOW)
    made = config(budget)
    found = budgets.reserve(HOME, asked, Spent(Amount(spent)))
    return found.on_limit if isinstance(found, Refusal) else None


@pytest.mark.parametrize(
    ("budget", "asked", "spent", "refused"),
    [
        ({**DAY, "on_limit": "block"}, quote(1_000_000), 0, None),
        ({**DAY, "on_limit": "block"}, quote(1_000_001), 0, "block"),
        ({**DAY, "on_limit": "block"}, quote(5_000_000, 10_000), 0, None),  # a short answer fits, and it runs alone
        ({**DAY, "on_limit": "cheaper"}, quote(5_000_000, 1_000_001), 0, "cheaper"),
        ({**DAY, "on_limit": "alert"}, quote(9_000_000), 0, None),
        ({**DAY, "on_limit": "alert"}, quote(None), 0, None),
        ({**DAY, "on_limit": "local_only"}, quote(None), 0, "local_only"),
        ({**DAY, "on_limit": "block", "unknown_price": {"count_as": 15}}, quote(None, tokens=1_000), 0, None),
        ({**DAY, "on_limit": "block", "unknown_price": {"count_as": 1500}}, quote(None, tokens=1_000), 0, "block"),
        ({**DAY, "on_limit": "block", "limit_usd": 0}, quote(0, local=True), 0, None),
        ({**DAY, "on_limit": "local_only", "limit_usd": 0}, quote(0, local=True), 0, None),
        ({**DAY, "on_limit": "local_only", "limit_usd": 0}, quote(0), 0, "local_only"),  # free, and not local
        ({**DAY, "on_limit": "block", "shadow": True}, quote(9_000_000), 0, None),
        ({**DAY, "on_limit": "block", "task_type": "debugging"}, quote(9_000_000), 0, None),
        ({**DAY, "on_limit": "block", "agent": "digest"}, quote(9_000_000), 0, None),
        ({"period": "request", "limit_usd": 1, "on_limit": "block"}, quote(400_000), 600_000, None),
        ({"period": "request", "limit_usd": 1, "on_limit": "block"}, quote(400_001, 1), 600_000, "block"),
    ],
)
def test_whether_a_call_may_be_made(budget: dict[str, Any], asked: Quote, spent: int, refused: str | None) -> None:
    assert reserve(budget, asked, spent) == refused


def test_while_one_call_holds_more_than_is_left_no_other_is_made() -> None:
    made = config({**DAY, "on_limit": "block"})
    budgets = Budgets(lambda: made, lambda: NOW)
    first = budgets.reserve(HOME, quote(5_000_000, 10_000))
    assert isinstance(first, Reservation)
    assert first.capped
    assert isinstance(budgets.reserve(HOME, quote(10, 10)), Refusal)
    budgets.settle(first, 20_000, 0)
    assert isinstance(budgets.reserve(HOME, quote(10, 10)), Reservation)


def test_the_strictest_decides_and_the_largest_share_counts() -> None:
    made = config(
        {**DAY, "on_limit": "cheaper"},
        {**DAY, "period": "week", "limit_usd": 0.5, "on_limit": "block"},
        {**DAY, "on_limit": "block", "limit_usd": 0.1, "shadow": True},
        {"period": "request", "limit_usd": 0.1},
    )
    budgets = Budgets(lambda: made, lambda: NOW)
    refusal = budgets.judge(HOME, quote(2_000_000))
    assert refusal is not None
    assert refusal.on_limit == "block"
    first = budgets.reserve(HOME, quote(400_000))
    assert isinstance(first, Reservation)
    assert [note.partition(":")[0] for note in first.notes] == ["shadow"]
    budgets.settle(first, 250_000, 0)
    assert budgets.used_fraction(HOME) == 0.5
    assert budgets.used_fraction(Scope("elsewhere", None, "chat")) == 0.0


def test_a_reload_keeps_what_was_spent_and_what_is_held() -> None:
    made = config({**DAY, "on_limit": "block"})
    budgets = Budgets(lambda: made, lambda: NOW)
    first, held = (budgets.reserve(HOME, quote(300_000)) for _ in range(2))
    assert isinstance(first, Reservation)
    assert isinstance(held, Reservation)
    budgets.settle(first, 100_000, 0)
    made = config({**DAY, "period": "month", "limit_usd": 2, "on_limit": "block"}, {**DAY, "period": "hour"})
    assert [(m.used, m.reserved, m.running) for m in budgets.meters()] == [(100_000, 300_000, 1)] * 2
    budgets.settle(held, 50_000, 0)
    assert [(m.used, m.reserved, m.running) for m in budgets.meters()] == [(150_000, 0, 0)] * 2


# -- periods


@pytest.mark.parametrize(
    ("period", "now", "zone", "start", "end"),
    [
        ("day", "2026-03-29T10:00", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "2026-10-25T10:00", "Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("week", "2026-11-29T23:30", "Europe/Berlin", "2026-11-29T23:00", "2026-12-06T23:00"),  # Monday, there
        ("week", "2026-11-29T22:30", "Europe/Berlin", "2026-11-22T23:00", "2026-11-29T23:00"),
        ("month", "2026-03-31T23:30", "Europe/Berlin", "2026-03-31T22:00", "2026-04-30T22:00"),
        ("month", "2026-12-31T12:00", "UTC", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("hour", "2026-10-25T00:30", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("hour", "2026-10-25T01:30", "Europe/Berlin", "2026-10-25T01:00", "2026-10-25T02:00"),
        ("hour", "2026-11-24T09:40", "Asia/Kolkata", "2026-11-24T09:30", "2026-11-24T10:30"),
        ("day", "2026-04-24T12:00", "Africa/Cairo", "2026-04-23T22:00", "2026-04-24T21:00"),  # no midnight
    ],
)
def test_a_period_is_the_persons(period: str, now: str, zone: str, start: str, end: str) -> None:
    moment, first, last = (datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (now, start, end))
    assert span_of(period, moment, ZoneInfo(zone)) == Span(first, last)


def test_a_period_ends_and_the_next_begins_at_nothing() -> None:
    now = datetime(2026, 11, 24, 22, 59, tzinfo=UTC)
    made = config({"period": "day", "limit_usd": 1, "on_limit": "block"}, timezone="Europe/Berlin")
    budgets = Budgets(lambda: made, lambda: now)
    first, second = (budgets.reserve(HOME, quote(400_000)) for _ in range(2))
    assert isinstance(first, Reservation)
    assert isinstance(second, Reservation)
    for made_now in (first, second):
        budgets.begin(made_now)
    budgets.settle(first, 400_000, 0)
    now += timedelta(minutes=2)
    assert [(m.used, m.reserved) for m in budgets.meters()] == [(0, 0)]
    budgets.settle(second, 400_000, 0)  # it began yesterday
    assert [(m.used, m.reserved) for m in budgets.meters()] == [(0, 0)]
    now -= timedelta(hours=1)  # a clock that was set back
    assert [(m.used, m.reserved) for m in budgets.meters()] == [(800_000, 0)]


def test_what_waits_over_the_end_of_a_period_keeps_its_room_in_the_next() -> None:
    """Calls that were told to come back in a minute: in that minute a new day begins, and others ask."""
    now = datetime(2026, 11, 24, 23, 59, 30, tzinfo=UTC)
    made = config({**DAY, "on_limit": "block"})
    budgets = Budgets(lambda: made, lambda: now)
    waiting = budgets.reserve(HOME, quote(600_000))
    assert isinstance(waiting, Reservation)
    now += timedelta(minutes=1)
    assert isinstance(budgets.reserve(HOME, quote(600_000)), Refusal)
    assert budgets.begin(waiting) == now
    assert [(m.used, m.reserved, m.running) for m in budgets.meters()] == [(0, 600_000, 1)]
    budgets.settle(waiting, 600_000, 0)
    assert [(m.used, m.reserved, m.running) for m in budgets.meters()] == [(600_000, 0, 0)]


# -- what people are told


def test_each_alert_once_a_period() -> None:
    now = NOW
    made = config({**DAY, "on_limit": "block", "alert_at": [0.5, 1.0]})
    budgets, sink, other = Budgets(lambda: made, lambda: now), Told(), Told()
    budgets.tell(sink)
    budgets.tell(other)

    def spend(cost: int) -> None:
        held = budgets.reserve(HOME, quote(cost))
        if isinstance(held, Reservation):
            budgets.settle(held, cost, 0)

    for cost in (400_000, 200_000, 100_000, 300_000, 1, 1):
        spend(cost)
    assert [alert.kind for alert in sink.alerts] == ["budget_threshold", "budget_threshold", "budget_acted"]
    assert len({alert.key for alert in sink.alerts}) == 3
    assert "50% are used" in sink.alerts[0].title
    now += timedelta(days=1)
    spend(600_000)
    assert len(sink.alerts) == 4
    assert other.alerts == sink.alerts


async def test_the_ledger_and_the_alerts_outlive_a_restart(tmp_path: Path) -> None:
    made = config({**DAY, "on_limit": "block", "alert_at": [0.5]})
    for restart in range(2):
        database = await Database.open(tmp_path / "sidecar.db", now=NOW)
        ledger = await UsageLedger.open(database, now=NOW)
        budgets, sink = await Budgets.open(database, lambda: made, lambda: NOW), Told()
        budgets.tell(sink)
        if not restart:
            held = budgets.reserve(HOME, quote(700_000))
            assert isinstance(held, Reservation)
            ledger.begin(attempt("a", workspace_profile_id="home"))
            budgets.settle(held, 600_000, 0)
            await ledger.settle("a", ended(cost_micro_usd=600_000))
        assert [meter.used for meter in budgets.meters()] == [600_000]
        assert len(sink.alerts) == (0 if restart else 1)
        await ledger.close()
        await database.close()


async def test_what_a_crash_cut_off_counts_as_the_most_it_could_cost(tmp_path: Path) -> None:
    made = config({**DAY, "on_limit": "block"})
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    ledger = await UsageLedger.open(database, now=NOW)
    cloud = {"workspace_profile_id": "home", "location": "cloud"}
    ledger.begin(attempt("in-the-journal", **cloud, reserved_micro_usd=300_000))
    ledger.begin(attempt("free", workspace_profile_id="home", reserved_micro_usd=0))
    # As after a kill: nothing is settled, nothing is closed in order.
    await database.close()
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    again = await UsageLedger.open(database, now=NOW)
    budgets = await Budgets.open(database, lambda: made, lambda: NOW)
    (meter,) = budgets.meters()
    assert (meter.used, meter.unpriced_calls, again.health().interrupted) == (300_000, 0, 2)
    await again.close()
    await database.close()


# -- as people see them


def test_projection_and_burn_down() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    now = start
    made = config({**DAY, "on_limit": "block"})
    budgets = Budgets(lambda: made, lambda: now)
    for hour in (1, 5):
        now = start + timedelta(hours=hour)
        held = budgets.reserve(HOME, quote(100_000))
        assert isinstance(held, Reservation)
        budgets.settle(held, 100_000, 0)
    now = start + timedelta(hours=6)
    (state,) = budget_states(budgets)
    assert (state.used_usd, state.left_usd, state.used_fraction) == (0.2, 0.8, 0.2)
    assert state.projected_usd == pytest.approx(0.8)
    assert state.exhausted_at is None
    points = burn_down(budgets, budgets.meters()[0])
    assert [point.used_usd for point in points] == [0, 0, 0.1, 0.1, 0.1, 0.1, 0.2]
    assert points[-1].left_usd == 0.8


def test_budgets_of_the_schema_have_defaults_that_hold() -> None:
    budget = Budget.model_validate({"period": "month", "limit_usd": 1})
    assert (budget.on_limit, budget.shadow, budget.unknown_price) == ("alert", False, None)
