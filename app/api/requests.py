"""`/api/v1/requests/{id}`: all that is known of one request, and the person's verdict on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path
from starlette.requests import Request

from app.api.callers import caller_of
from app.api.deps import api_of, body_docs, body_of, json_response, v1_router
from app.api.results import Problem
from app.api.usage_schemas import FeedbackBody, FeedbackResult, RequestResult
from app.usage.feedback import detail_data, feedback_data

router = v1_router("usage")

RequestId = Annotated[str, Path(max_length=256, description="As `route` and `done` name it.")]
_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "`request_not_found`"},
    422: {"model": Problem},
}


@router.get(
    "/requests/{request_id}",
    summary="A request and its receipt",
    operation_id="get_request",
    responses={200: {"model": RequestResult}, **_RESPONSES},
)
async def get_request(request: Request, request_id: RequestId) -> Any:
    """Its attempts, its receipt (routing facts, route, context) and the feedback. No word of prompt or answer."""
    detail = await api_of(request).services.usage.request(request_id, caller_of(request).workspace)
    return json_response(detail_data(detail, [asdict(row) for row in detail.attempts]))


@router.post(
    "/requests/{request_id}/feedback",
    summary="Say what the answer was worth",
    operation_id="give_feedback",
    responses={200: {"model": FeedbackResult}, **_RESPONSES},
    openapi_extra=body_docs(FeedbackBody),
)
async def give_feedback(request: Request, request_id: RequestId) -> Any:
    """Keeps a score of 1 to 5; a second one replaces the first. Summaries compare models by it."""
    body = await body_of(request, FeedbackBody)
    workspace = caller_of(request).workspace
    feedback = await api_of(request).services.usage.judge(request_id, body.score, body.note, workspace)
    return json_response(feedback_data(feedback))
