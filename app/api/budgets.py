"""`GET /api/v1/budgets`: what may be spent, what is, and where that is heading."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from app.api.budget_schemas import BudgetList
from app.api.callers import caller_of
from app.api.deps import api_of, json_response, v1_router
from app.api.results import Problem
from app.usage.budget_states import burn_down, state_of

router = v1_router("usage")


class BudgetParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: str | None = Field(None, max_length=256, description="Those that cover this workspace.")
    agent: str | None = Field(None, max_length=256, description="Those that cover this agent.")


@router.get(
    "/budgets",
    summary="Budgets, and how they stand",
    operation_id="budgets",
    responses={200: {"model": BudgetList}, 422: {"model": Problem}},
)
async def budgets(request: Request, params: Annotated[BudgetParams, Query()]) -> Any:
    """Used, held, left, projection and burn-down of every budget in its present period."""
    kept = api_of(request).services.budgets
    own = caller_of(request).workspace
    meters = [
        meter
        for meter in kept.meters()
        if own in (None, meter.limit.workspace)
        and (params.workspace is None or meter.limit.workspace in (None, params.workspace))
        and (params.agent is None or meter.limit.agent in (None, params.agent))
    ]
    now = kept.now()
    found = [
        {**asdict(state_of(meter, now)), "burn_down": [asdict(point) for point in burn_down(kept, meter)]}
        for meter in meters
    ]
    return json_response({"budgets": found})
