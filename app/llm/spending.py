"""What a request may spend: its budgets, asked for each model it is about to call.

The policy decides by the model alone, before a route exists. A budget decides by what the call would cost, so only once
a window was fitted; this is where the router asks, and `explain` with it. What a refusal means:

    block        before the stream: the request is refused, 402; after it has begun: the model is left out
    local_only   the model and every other cloud model of the route are left out; the local fallback steps in
    cheaper      the model is left out: the next one that the budget allows is asked
    upgrade      whatever the budget says, the window is fitted again without that upgrade
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from app.context.blocks import ContextWindow
from app.errors import BudgetExceeded, UnknownModel
from app.llm.calls import ModelRequest
from app.llm.fitting import Fitted, Fitter
from app.llm.plan import Plan
from app.routing.policy import missing_capability, permitted
from app.routing.route import Candidate, Origin, Removed
from app.routing.spec import ModelSpec
from app.usage.budgets import Budgets, Reservation
from app.usage.limits import LIKELY_OUTPUT_TOKENS, Quote, Refusal, Spent
from app.usage.pricing import estimate
from app.usage.spend import Amount, Scope

Ask: TypeAlias = Callable[[Fitted], Refusal | None]
"""Whether the budgets let a fitted model be called; None: they do."""


def scope_of(request: ModelRequest) -> Scope:
    """Whom and what a request is held against: its own agent and task type, and those it is made for."""
    scope, parent = Scope(request.workspace, request.agent, request.task_type), request.parent
    return scope if parent is None else replace(scope, parent_agent=parent.agent, parent_task_type=parent.task_type)


def quote_of(model: ModelSpec, window: ContextWindow) -> Quote:
    """What a call with this window may cost: the prompt, nothing of it cached, and the output reserve."""
    price, prompt, output = model.price.value, window.input_tokens, window.reserved_output
    return Quote(
        model.id,
        model.location.is_local,
        estimate(prompt, output, price),
        estimate(prompt, min(output, LIKELY_OUTPUT_TOKENS), price),
        prompt + output,
    )


@dataclass(slots=True)
class Spending:
    """One request's dealings with its budgets; at most one reservation at a time, for the call that is next or runs."""

    budgets: Budgets
    scope: Scope
    parent: Spending | None = None
    """Of the request that this one is made for: what it costs is part of that."""
    spent: Amount = field(default_factory=Amount)
    """What the calls that have ended came to, those of requests made for this one included."""
    reservation: Reservation | None = None
    notes: list[str] = field(default_factory=list)
    """What shadow budgets would have done, each said once."""

    def judge(self, fitted: Fitted) -> Refusal | None:
        """For `explain`: nothing is held."""
        return self.budgets.judge(self.scope, quote_of(fitted.model, fitted.window), self._so_far())

    def hold(self, fitted: Fitted) -> Refusal | None:
        """Reserve for the next call to this model; None where that was possible."""
        return self.take(quote_of(fitted.model, fitted.window))

    def hold_instead(self, fitted: Fitted) -> Refusal | None:
        """Reserve for another window of the call that is next; where that is refused, what was reserved stays."""
        return self.change(quote_of(fitted.model, fitted.window))

    def take(self, quote: Quote) -> Refusal | None:
        self.release()
        found = self.budgets.reserve(self.scope, quote, self._so_far())
        if isinstance(found, Refusal):
            return found
        self.reservation = found
        self.notes += [note for note in found.notes if note not in self.notes]
        return None

    def change(self, quote: Quote) -> Refusal | None:
        if self.reservation is None:
            return self.take(quote)
        return self.budgets.change(self.reservation, quote, self._so_far())

    def release(self) -> None:
        """Give back what no call has used; what a call has cost is remembered, also by whom it was made for."""
        if self.reservation is not None:
            self.budgets.release(self.reservation)
            self._add(self.reservation.amount)
            self.reservation = None

    def _add(self, amount: Amount) -> None:
        self.spent.add(amount)
        if self.parent is not None:
            self.parent._add(amount)

    def _so_far(self) -> Spent:
        if self.parent is None:
            return Spent(replace(self.spent))
        waiting = self.parent.reservation
        return Spent(replace(self.parent.spent), None if waiting is None else waiting.quote, replace(self.spent))


async def fit_within(fitter: Fitter, plan: Plan, model: ModelSpec, ask: Ask) -> tuple[Plan, Fitted, Refusal | None]:
    """`model` fitted, and what the budgets say to it. An upgrade they refuse is taken out of the plan, and the window
    fitted again without it. Raises `ContextTooLarge`."""
    while True:
        fitted = await fitter.fit(plan, model)
        refusal = ask(fitted)
        if refusal is None or fitted.model.id == model.id:
            return plan, fitted, refusal
        plan = without(plan, fitted.model.id, Origin.UPGRADE, refusal.reason)


def without(plan: Plan, model_id: str, origin: Origin, reason: str) -> Plan:
    """The plan without a model that a budget forbids, and with the reason."""
    route = plan.route
    if origin is Origin.UPGRADE:
        route = replace(route, upgrades=tuple(m for m in route.upgrades if m.id != model_id))
    else:
        route = replace(
            route,
            candidates=tuple(c for c in route.candidates if c.model.id != model_id),
            reasons=(*route.reasons, f"{model_id} was left out: {reason}"),
        )
    removed = (*route.removed, Removed(model_id, origin, "budget", reason))
    return replace(plan, route=replace(route, removed=removed))


def leave_out(
    plan: Plan, refusal: Refusal, candidate: Candidate, waiting: Sequence[Candidate]
) -> tuple[Plan, list[Candidate]]:
    """The plan, and those who wait, without whom the refusal leaves out: the candidate, and with `local_only` every
    other model of the route that is not local, upgrades included."""
    plan = without(plan, candidate.model.id, candidate.origin, refusal.reason)
    if refusal.on_limit != "local_only":
        return plan, list(waiting)
    why = f"{refusal.limit} leaves local models only"
    for other in waiting:
        if not other.model.location.is_local:
            plan = without(plan, other.model.id, other.origin, why)
    for model in plan.route.upgrades:
        if not model.location.is_local:
            plan = without(plan, model.id, Origin.UPGRADE, why)
    return plan, [other for other in waiting if other.model.location.is_local]


def with_fallback(plan: Plan, refusal: Refusal) -> tuple[Plan, list[Candidate]]:
    """The plan with the local model that steps in where a `local_only` budget has left none, and who then waits;
    nobody where no such model can do what is asked."""
    found = _fallback(plan, refusal)
    if found is None:
        return plan, []
    told = (*plan.route.reasons, f"{found.model.id} steps in as the local fallback")
    route = replace(plan.route, candidates=(*plan.route.candidates, found), reasons=told)
    return replace(plan, route=route), [found]


def _fallback(plan: Plan, refusal: Refusal) -> Candidate | None:
    config = plan.policy.config
    name = plan.policy.profile(plan.facts.workspace).local_fallback or config.routing.local_fallback
    asked = {c.model.id for c in plan.route.candidates} | {r.model for r in plan.route.removed}
    if refusal.on_limit != "local_only" or name is None or name in asked or plan.request.one_try:
        return None
    try:
        model = plan.policy.catalog.resolve(name)
    except UnknownModel:
        return None
    usable = permitted(model, local_only=True).allowed and model.unusable is None
    return Candidate(model, Origin.LOCAL_FALLBACK) if usable and not missing_capability(model, plan.facts) else None


def exceeded(refusal: Refusal) -> BudgetExceeded:
    """The 402 of a request that budgets leave no model for."""
    limit = refusal.limit
    return BudgetExceeded(
        refusal.reason,
        budget={
            "key": limit.key,
            "workspace": limit.workspace,
            "agent": limit.agent,
            "task_type": limit.task_type,
            "period": limit.entry.period,
            "limit_usd": limit.entry.limit_usd,
            "on_limit": limit.entry.on_limit,
        },
    )
