"""What becomes of upgrades: one that rests or has failed is no option any more, and the candidate that one stood in for
gets its turn after all, with what fits there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.llm.fitting import Fitted
from app.llm.plan import Plan
from app.routing.route import Candidate, Origin, Removed


def stood_in_for(plan: Plan, fitted: Fitted) -> Candidate | None:
    """The candidate in whose place an upgrade was asked; None where `fitted` is no upgrade."""
    name = fitted.window.upgraded_from
    return next((c for c in plan.route.candidates if c.model.id == name), None)


def without_upgrade(plan: Plan, model_id: str, code: str, reason: str) -> Plan:
    """The plan in which nothing is upgraded to this model, and why."""
    route = plan.route
    upgrades = tuple(model for model in route.upgrades if model.id != model_id)
    removed = (*route.removed, Removed(model_id, Origin.UPGRADE, code, reason))
    return replace(plan, route=replace(route, upgrades=upgrades, removed=removed))


def without_resting(plan: Plan, resting: Callable[[str], str | None]) -> Plan:
    """The plan without upgrades that rest; `resting` says why one does."""
    for model in plan.route.upgrades:
        if (why := resting(model.id)) is not None:
            plan = without_upgrade(plan, model.id, "resting", why)
    return plan
