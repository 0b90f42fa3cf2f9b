"""`POST /api/v1/explain`: what a chat with the same body would do, without calling a model."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from app.api.callers import caller_of
from app.api.deps import DirectRoute, api_of, body_docs, body_of, json_response, request_id, v1_router
from app.api.json_text import Json
from app.api.problems import MAX_LISTED
from app.api.results import ExplainResult, Problem
from app.api.schemas import ExplainBody
from app.api.scope import within
from app.api.usage_schemas import ReplayBody, ReplayResult
from app.api.wire import context_data, route_data
from app.errors import ConfigError, InvalidRequest
from app.llm.events import CandidateEstimate, Explanation
from app.routing.route import Route
from app.usage.queries import parse_query
from app.usage.replay import replay_data

router = v1_router("chat", route_class=DirectRoute)

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": ExplainResult},
    403: {"model": Problem},
    413: {"model": Problem},
    422: {"model": Problem},
}


@router.post(
    "/explain",
    summary="What would a chat do?",
    operation_id="explain",
    responses=_RESPONSES,
    openapi_extra=body_docs(ExplainBody),
)
async def explain(request: Request) -> Any:
    """Every rule's verdict, what the policy removed, the fit and the cost of each candidate. No model is called."""
    body = await body_of(request, ExplainBody)
    asked = await within(request, body.to_request(request_id(request)))
    explanation = await api_of(request).services.chat.explain(asked)
    return json_response(explanation_data(explanation, body.include_messages))


@router.post(
    "/explain/replay",
    summary="What would other rules have done?",
    operation_id="replay",
    responses={200: {"model": ReplayResult}, 403: {"model": Problem}, 422: {"model": Problem}},
    openapi_extra=body_docs(ReplayBody),
)
async def replay(request: Request) -> Any:
    """The logged requests' routing facts under another routing.yaml: which models and dollars change. Nothing is
    called."""
    body = await body_of(request, ReplayBody)
    services = api_of(request).services
    query = parse_query(
        start=body.start,
        end=body.end,
        tz=body.tz,
        group_by=None,
        filters={"workspace": caller_of(request).workspace_for(body.workspace)},
        now=services.clock.now(),
    )
    try:
        result = await services.usage.replay(query, body.routing_text())
    except ConfigError as error:
        listed = [
            {"field": f"routing.{p.where}" if p.where else "routing", "message": p.message} for p in error.problems
        ]
        raise InvalidRequest(str(error), errors=listed[:MAX_LISTED]) from None
    return json_response(replay_data(result))


def explanation_data(explanation: Explanation, include_messages: bool) -> Json:
    data: Json = {
        "request_id": explanation.request_id,
        "route": _route(explanation.request_id, explanation.route),
        "facts": explanation.facts,
        "candidates": [_candidate(candidate) for candidate in explanation.candidates],
        "budget": explanation.budget,
        "warnings": list(explanation.warnings),
    }
    if include_messages:
        # Those of the first candidate that is awake and can hold them: the one that would be asked.
        fitted = [c for c in explanation.candidates if c.context is not None]
        asked = next((c.context for c in sorted(fitted, key=lambda c: c.resting is not None)), None)
        data["messages"] = [dict(message) for message in asked.messages] if asked else []
    return data


def _route(request_id: str, route: Route) -> Json:
    return {
        **route_data(request_id, route),
        "verdicts": [{"rule": v.rule, "matched": v.matched, "failed": v.failed} for v in route.verdicts],
        "removed": [
            {"model": r.model, "origin": r.origin.value, "code": r.code, "reason": r.reason} for r in route.removed
        ],
        "upgrades": [model.id for model in route.upgrades],
        "summarizer": route.summarizer.id if route.summarizer else None,
        "local_only": route.local_only,
        "max_output_tokens": route.max_output_tokens,
    }


def _candidate(candidate: CandidateEstimate) -> Json:
    return {
        "model": candidate.model,
        "origin": candidate.origin,
        "location": candidate.location,
        "available": candidate.available,
        "resting": candidate.resting,
        "context": None if candidate.context is None else context_data(candidate.context),
        "problem": candidate.problem,
        "estimated_cost_usd": candidate.estimated_cost_usd,
        "budget": candidate.budget,
    }
