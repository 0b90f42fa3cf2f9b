"""What a call made for another request counts against: the budgets of the one who asked, once each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from app.config.schema import AgentsFile
from app.llm.spending import Spending
from app.store.database import Database
from app.usage import rollups
from app.usage.budgets import Budgets, Reservation
from app.usage.ledger import UsageLedger
from app.usage.limits import Quote, Refusal, Spent, limits_of
from app.usage.reconcile import verify
from app.usage.records import Parent
from app.usage.spend import Amount, Scope
from tests.unit.ledger_rows import NOW, attempt, ended
from tests.unit.test_budgets import DAY, HOME, Told, config, quote

ASKING = Parent("request-1", "digest", "debugging")
SUMMARY = Scope("home", "summarizer", "summarization", ASKING.agent, ASKING.task_type)
PER_REQUEST = {"period": "request", "limit_usd": 1, "on_limit": "block"}


@pytest.mark.parametrize(
    ("limits", "covered"),
    [
        ({}, True),
        ({"agent": "digest"}, True),
        ({"agent": "summarizer"}, True),
        ({"agent": "standup"}, False),
        ({"task_type": "debugging"}, True),
        ({"task_type": "summarization"}, True),
        ({"task_type": "chat"}, False),
        ({"agent": "digest", "task_type": "debugging"}, True),
        ({"agent": "digest", "task_type": "summarization"}, True),  # what digest's summaries cost
        ({"agent": "digest", "task_type": "chat"}, False),
    ],
)
def test_whom_a_budget_covers(limits: dict[str, Any], covered: bool) -> None:
    (limit,) = limits_of(config({**DAY, **limits}))
    assert limit.covers(SUMMARY) is covered


def test_an_agents_own_budget_covers_what_is_made_for_it() -> None:
    made = config()
    agents = AgentsFile.model_validate({"agents": [{"name": "digest", "budget": DAY}]})
    (limit,) = limits_of(cast(Any, type("C", (), {"profiles": made.profiles, "agents": agents, "profile": None})))
    assert limit.covers(SUMMARY)
    assert not limit.covers(Scope("home", "summarizer", "summarization"))


def test_it_is_counted_once_where_both_are_covered() -> None:
    made = config({**DAY, "limit_usd": 10}, {**DAY, "agent": "digest"}, {**DAY, "task_type": "chat"})
    budgets = Budgets(lambda: made, lambda: NOW)
    held = budgets.reserve(SUMMARY, quote(300_000))
    assert isinstance(held, Reservation)
    assert [meter.reserved for meter in budgets.meters()] == [300_000, 300_000, 0]
    budgets.settle(held, 200_000, 0)
    assert [(meter.used, meter.reserved) for meter in budgets.meters()] == [(200_000, 0), (200_000, 0), (0, 0)]
    assert budgets.used_fraction(SUMMARY) == 0.2


# -- a limit per request


def test_what_is_made_for_a_request_is_part_of_it() -> None:
    """The request holds 0.6 of a dollar for its own call; the summary may cost the rest, and no more."""
    made = config(PER_REQUEST)
    budgets = Budgets(lambda: made, lambda: NOW)
    asking = Spent(Amount(), quote(600_000))
    assert isinstance(budgets.reserve(SUMMARY, quote(400_001), asking), Refusal)
    assert isinstance(budgets.reserve(SUMMARY, quote(400_000), asking), Reservation)
    assert isinstance(budgets.reserve(HOME, quote(600_001), Spent(Amount(400_000))), Refusal)


def test_what_has_no_price_counts_in_a_limit_per_request_as_well() -> None:
    made = config({**PER_REQUEST, "unknown_price": {"count_as": 1_000}})
    budgets = Budgets(lambda: made, lambda: NOW)
    spent = Spent(Amount(0, 600, 1), Quote("m", False, None, None, 300))
    assert isinstance(budgets.reserve(HOME, quote(100_000), spent), Reservation)
    assert isinstance(budgets.reserve(HOME, quote(100_001), spent), Refusal)


@pytest.mark.parametrize("whose", [{"task_type": "summarization"}, {"agent": "summarizer"}])
def test_a_limit_per_request_for_what_is_made_leaves_out_the_one_it_is_made_for(whose: dict[str, Any]) -> None:
    """A summary may cost a tenth of a dollar: what the request has spent and holds for itself is not its own."""
    made = config({**PER_REQUEST, "limit_usd": 0.1, "alert_at": [0.5], **whose})
    budgets = Budgets(lambda: made, lambda: NOW)
    told = Told()
    budgets.tell(told)
    asking = Spending(budgets, HOME)
    asking.spent.add(Amount(900_000))
    assert asking.take(quote(600_000)) is None
    summary = Spending(budgets, SUMMARY, asking)
    assert summary.take(quote(100_001)) is not None
    assert summary.take(quote(60_000)) is None
    assert summary.reservation is not None
    budgets.settle(summary.reservation, 40_000, 0)
    assert [alert.kind for alert in told.alerts] == ["budget_acted"]  # 0.04 of 0.1 is no threshold
    summary.release()
    assert summary.take(quote(60_001)) is not None  # a second try of the same summary
    assert summary.take(quote(60_000)) is None


def test_spending_hands_up_what_it_cost() -> None:
    made = config(PER_REQUEST)
    budgets = Budgets(lambda: made, lambda: NOW)
    asking = Spending(budgets, HOME)
    assert asking.take(quote(500_000)) is None
    made_for_it = Spending(budgets, SUMMARY, asking)
    assert made_for_it.take(quote(500_001)) is not None
    assert made_for_it.take(quote(300_000)) is None
    assert made_for_it.reservation is not None
    budgets.settle(made_for_it.reservation, 250_000, 0)
    made_for_it.release()
    made_for_it.release()  # a second time hands up nothing
    assert asking.spent == Amount(250_000)
    assert asking.change(quote(750_001)) is not None  # what it held stays
    assert asking.reservation is not None
    assert asking.reservation.quote == quote(500_000)
    assert asking.change(quote(750_000)) is None
    assert asking.reservation.quote == quote(750_000)


def test_a_changed_quote_holds_as_much_under_every_budget() -> None:
    made = config({**DAY, "on_limit": "block"}, {**DAY, "period": "week", "limit_usd": 5})
    budgets = Budgets(lambda: made, lambda: NOW)
    spending, other = Spending(budgets, HOME), Spending(budgets, HOME)
    assert spending.take(quote(400_000)) is None
    assert other.take(quote(300_000)) is None
    assert spending.change(quote(700_001)) is not None
    assert [meter.reserved for meter in budgets.meters()] == [700_000] * 2
    assert spending.change(quote(700_000)) is None
    assert [(meter.reserved, meter.running) for meter in budgets.meters()] == [(1_000_000, 2)] * 2
    spending.release()
    other.release()
    assert [(meter.reserved, meter.running) for meter in budgets.meters()] == [(0, 0)] * 2


def test_a_changed_quote_is_held_once_also_where_the_configuration_was_read_anew_meanwhile() -> None:
    entry = {**DAY, "on_limit": "block"}
    made = [config(entry)]
    budgets = Budgets(lambda: made[0], lambda: NOW)
    spending = Spending(budgets, HOME)
    for most, allowed in ((400_000, True), (900_000, True), (1_000_001, False)):
        made[0] = config(entry)
        assert (spending.change(quote(most)) is None) is allowed
    assert [(meter.reserved, meter.running) for meter in budgets.meters()] == [(900_000, 1)]
    spending.release()
    assert [(meter.reserved, meter.running) for meter in budgets.meters()] == [(0, 0)]


# -- a restart


@pytest.mark.parametrize("fate", ["settled", "unpriced", "killed"])
async def test_it_is_still_the_askers_after_a_restart(tmp_path: Path, fate: str) -> None:
    counted = {"unknown_price": {"count_as": 10}}
    made = config({**DAY, "agent": "digest", **counted}, {**DAY, "task_type": "debugging"}, {**DAY, "agent": "standup"})
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    ledger = await UsageLedger.open(database, now=NOW)
    whose = {"workspace_profile_id": "home", "agent": "summarizer", "task_type": "summarization", "parent": ASKING}
    ledger.begin(attempt("a", location="cloud", reserved_micro_usd=70_000, **whose))
    if fate != "killed":
        cost = 60_000 if fate == "settled" else None
        await ledger.settle("a", ended(cost_micro_usd=cost, input_tokens=500, output_tokens=500))
        await ledger.close()
    await database.close()
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    again = await UsageLedger.open(database, now=NOW)
    budgets = await Budgets.open(database, lambda: made, lambda: NOW)
    used = {"settled": 60_000, "unpriced": 10_000, "killed": 70_000}[fate]
    priced = 0 if fate == "unpriced" else used
    assert [meter.used for meter in budgets.meters()] == [used, priced, 0]
    assert (await verify(database)).different == 0
    await again.close()
    await database.close()


def test_dimensions_of_before_keep_their_ids() -> None:
    """Roll-ups whose rows were dropped cannot be built anew: a column added later must leave their ids as they are."""
    old = ("home", "m", "chat", None, "all", "ollama", "loopback", "ok")
    assert rollups.dimension_id((*old, None, None)) == -2902725770510967733
    assert rollups.dimension_id((*old, "digest", "chat")) != rollups.dimension_id((*old, "digest", None))
