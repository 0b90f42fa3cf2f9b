"""What a request would do, without doing it: the same plan and the same fit, every candidate, and no call."""

from __future__ import annotations

from dataclasses import asdict

from app.context.blocks import ContextWindow
from app.errors import ContextTooLarge
from app.llm.breaker import BreakerBoard
from app.llm.events import CandidateEstimate, Explanation
from app.llm.fitting import Fitter
from app.llm.plan import Plan
from app.llm.spending import Spending, fit_within
from app.llm.summarizing import would_summarise
from app.llm.upgrading import without_resting
from app.routing.catalog import ModelSpec
from app.routing.route import Candidate
from app.usage.budget_states import budget_states
from app.usage.pricing import estimate, to_usd


async def explain_plan(plan: Plan, fitter: Fitter, breakers: BreakerBoard, spending: Spending) -> Explanation:
    """Every candidate fitted, priced and held against the budgets, in the order they would be asked."""
    estimates = [await _estimate(plan, candidate, fitter, breakers, spending) for candidate in plan.route.candidates]
    standing = [asdict(state) for state in budget_states(spending.budgets, spending.scope)]
    return Explanation(
        request_id=plan.request.request_id,
        route=plan.route,
        facts=asdict(plan.facts),
        candidates=tuple(estimates),
        budget={"used": plan.facts.budget_used, "budgets": standing},
        warnings=(*plan.policy.config.warnings, *plan.request.warnings),
    )


async def _estimate(
    plan: Plan, candidate: Candidate, fitter: Fitter, breakers: BreakerBoard, spending: Spending
) -> CandidateEstimate:
    model, window, problem, refusal = candidate.model, None, None, None
    awake = without_resting(plan, breakers.resting)
    try:
        try:
            plan, fitted, refusal = await fit_within(fitter, awake, model, spending.judge)
        except ContextTooLarge:
            if awake is plan:
                raise
            plan, fitted, refusal = await fit_within(fitter, plan, model, spending.judge)
        fitted = would_summarise(plan, fitted)
        model, window = fitted.model, fitted.window
    except ContextTooLarge as error:
        problem = error.detail
    return CandidateEstimate(
        model=model.id,
        origin=candidate.origin.value,
        location=model.location.value,
        available=model.available,
        resting=breakers.resting(model.id),
        context=window,
        problem=problem,
        estimated_cost_usd=None if window is None else _cost(model, window),
        budget=None if refusal is None else f"{refusal.on_limit}: {refusal.reason}",
    )


def _cost(model: ModelSpec, window: ContextWindow) -> float | None:
    """The most it would cost: the whole output reserve written. None: price unknown."""
    return to_usd(estimate(window.input_tokens, window.reserved_output, model.price.value))
