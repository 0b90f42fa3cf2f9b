"""`/api/v1/agents`, `/runs` and `/trigger`: agents started, paused, watched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.agents.notification_rows import parse_cursor
from app.agents.records import Run, RunCost, State
from app.agents.runlog import Heard, Line
from app.agents.runs import RunDetail
from app.agents.service import WAIT_SECONDS, AgentView
from app.api.agent_schemas import AgentDetail, AgentList, RunDetailResult, RunList, RunResult, TriggerBody
from app.api.deps import Api, DirectRoute, api_of, body_docs, body_of, json_response, v1_router
from app.api.feed import LAST_EVENT_ID, Feed, FeedItem, resumes_after
from app.api.results import Problem
from app.errors import InvalidRequest
from app.store.tables import to_text

router = v1_router("agents")
direct = v1_router("agents", route_class=DirectRoute)
"""For the feed, which is its own response."""

Name = Annotated[str, Path(max_length=128, description="Of an entry of agents.yaml, or of a built-in agent.")]
RunId = Annotated[str, Path(max_length=128)]

_INVALID: dict[int | str, dict[str, Any]] = {422: {"model": Problem}}
_NO_AGENT: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`agent_not_found`"}, **_INVALID}
_NO_RUN: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`run_not_found`"}, **_INVALID}
MAX_KEY = 255


class RunParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    state: State | None = Field(None, description="Those in this state alone.")
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before.")


@router.post(
    "/trigger",
    summary="Run an agent now",
    operation_id="trigger",
    status_code=202,
    responses={
        202: {"model": RunResult, "description": "Accepted, or with `wait` not over after 60 s"},
        200: {"model": RunDetailResult, "description": "With `wait`: the run that is over"},
        404: {"model": Problem, "description": "`agent_not_found`"},
        409: {"model": Problem, "description": "`agent_running` (with the run's `run_id`), `agent_not_ready`"},
        **_INVALID,
    },
    openapi_extra={
        **body_docs(TriggerBody),
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": MAX_KEY},
                "description": "The same key with the same request starts one run, however often it is sent.",
            }
        ],
    },
)
async def trigger(request: Request) -> Any:
    """The run goes on whether or not somebody waits for it."""
    body = await body_of(request, TriggerBody)
    agents = api_of(request).services.agents
    run = await agents.trigger(
        body.agent,
        workspace=body.workspace,
        given=body.input,
        dry_run=body.dry_run,
        idempotency_key=_key_of(request),
    )
    if body.wait and await agents.runs.wait(run.id, WAIT_SECONDS):
        return json_response(detail_data(await agents.runs.get(run.id)))
    found = await agents.runs.get(run.id)
    response = json_response(run_data(found.run))
    response.status_code = 202
    response.headers["location"] = f"/api/v1/runs/{run.id}"
    return response


def _key_of(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY and all("!" <= c <= "~" for c in key)):
        raise InvalidRequest(f"must be 1 to {MAX_KEY} ASCII characters without spaces", field="Idempotency-Key")
    return key


@router.get("/agents", summary="Which agents are there?", operation_id="agents", responses={200: {"model": AgentList}})
async def page(request: Request) -> Any:
    """Those of agents.yaml in its order, then those it does not name."""
    api = api_of(request)
    return json_response({"agents": [agent_data(api, view) for view in await api.services.agents.views()]})


@router.get(
    "/agents/{name}",
    summary="One agent, and when it is due",
    operation_id="agent",
    responses={200: {"model": AgentDetail}, **_NO_AGENT},
)
async def one(request: Request, name: Name) -> Any:
    """With its next five due times and the schema of its input."""
    api = api_of(request)
    return json_response(agent_detail(api, await api.services.agents.view(name)))


@router.post(
    "/agents/{name}/pause",
    summary="Let an agent's schedule rest",
    operation_id="pause_agent",
    responses={200: {"model": AgentDetail}, **_NO_AGENT},
)
async def pause(request: Request, name: Name) -> Any:
    """Until it is resumed, also over restarts. It can still be triggered."""
    api = api_of(request)
    return json_response(agent_detail(api, await api.services.agents.pause(name)))


@router.post(
    "/agents/{name}/resume",
    summary="Let an agent's schedule go on",
    operation_id="resume_agent",
    responses={200: {"model": AgentDetail}, **_NO_AGENT},
)
async def resume(request: Request, name: Name) -> Any:
    """From now: what was due meanwhile is not made up for."""
    api = api_of(request)
    return json_response(agent_detail(api, await api.services.agents.resume(name)))


@router.get(
    "/agents/{name}/runs",
    summary="An agent's runs",
    operation_id="agent_runs",
    responses={200: {"model": RunList}, **_NO_AGENT},
)
async def runs(request: Request, name: Name, params: Annotated[RunParams, Query()]) -> Any:
    """The latest first, a page at a time; due times that had no run are among them."""
    agents = api_of(request).services.agents
    await agents.view(name, 0)
    return await _page(request, name, params)


@router.get(
    "/runs", summary="The runs of all agents", operation_id="runs", responses={200: {"model": RunList}, **_INVALID}
)
async def all_runs(request: Request, params: Annotated[RunParams, Query()]) -> Any:
    """The latest first, a page at a time."""
    return await _page(request, None, params)


async def _page(request: Request, name: str | None, params: RunParams) -> Response:
    agents = api_of(request).services.agents
    found = await agents.runs.page(name, state=params.state, limit=params.limit, cursor=params.cursor)
    return json_response({"runs": [run_data(run) for run in found.runs], "next_cursor": found.next_cursor})


@router.get(
    "/runs/{run_id}",
    summary="One run",
    operation_id="run",
    responses={200: {"model": RunDetailResult}, **_NO_RUN},
)
async def run(request: Request, run_id: RunId) -> Any:
    """Its progress, log and result, and from the ledger its models and its cost."""
    return json_response(detail_data(await api_of(request).services.agents.runs.get(run_id)))


@direct.get(
    "/runs/{run_id}/events",
    summary="Watch a run",
    operation_id="run_events",
    responses={
        200: {
            "description": "Server-Sent Events: `log`, its line's number as `id`; `progress`; and one `done` with the "
            "run when it is over",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **_NO_RUN,
    },
    openapi_extra={
        "parameters": [
            {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}},
            resumes_after("The number of the last line that was received; from the first where absent."),
        ]
    },
)
async def events(request: Request) -> Any:
    """What the run has said so far, then what it says, until it is over. Leaving does not end the run."""
    api, run_id = api_of(request), str(request.path_params["run_id"])
    after = parse_cursor(request.headers.get("last-event-id"), LAST_EVENT_ID) or 0
    await api.services.agents.runs.get(run_id)
    return Feed(_events(api, run_id, after), api.streams, api.patience, after=after)


async def _events(api: Api, run_id: str, after: int) -> AsyncGenerator[list[FeedItem], None]:
    runs = api.services.agents.runs
    async for batch in runs.listen(run_id, after):
        yield [_event(heard) for heard in batch]
    yield [FeedItem("done", detail_data(await runs.get(run_id)), last=True)]


def _event(heard: Heard) -> FeedItem:
    name = "log" if isinstance(heard.news, Line) else "progress"
    return FeedItem(name, asdict(heard.news), id=heard.number)


@router.post(
    "/runs/{run_id}/cancel",
    summary="End a run",
    operation_id="cancel_run",
    responses={
        200: {"model": RunResult},
        409: {"model": Problem, "description": "`run_over`"},
        **_NO_RUN,
    },
)
async def cancel(request: Request, run_id: RunId) -> Any:
    """Answered once it has ended."""
    return json_response(run_data(await api_of(request).services.agents.runs.cancel(run_id)))


# -- as JSON


def run_data(run: Run) -> dict[str, Any]:
    """As `RunResult`."""
    return {
        "run_id": run.id,
        "agent": run.agent,
        "kind": run.kind,
        "workspace": run.workspace,
        "state": run.state.value,
        "cause": run.cause.value,
        "scheduled_at": to_text(run.scheduled_at) if run.scheduled_at else None,
        "created_at": to_text(run.created_at),
        "started_at": to_text(run.started_at) if run.started_at else None,
        "finished_at": to_text(run.finished_at) if run.finished_at else None,
        "attempt": run.attempt,
        "dry_run": run.dry_run,
        "rerun_of": run.rerun_of,
        "error_code": run.error_code,
        "error_message": run.error_message,
        "progress": dict(run.progress) if run.progress else None,
    }


def detail_data(detail: RunDetail) -> dict[str, Any]:
    """As `RunDetailResult`."""
    run = detail.run
    return {
        **run_data(run),
        "input": dict(run.input),
        "summary": run.summary,
        "data": dict(run.data),
        "stored": list(run.stored),
        "withheld": list(run.withheld),
        **_cost_data(detail.cost),
        "log": detail.lines,
    }


def _cost_data(cost: RunCost) -> dict[str, Any]:
    micro = cost.cost_micro_usd
    return {
        "models": list(cost.models),
        "requests": cost.requests,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "cost_usd": None if micro is None else micro / 1_000_000,
    }


def agent_data(api: Api, view: AgentView) -> dict[str, Any]:
    """As `AgentResultItem`."""
    registered, record = view.registered, view.record
    entry = registered.entry
    return {
        "name": entry.name,
        "agent": registered.kind,
        "description": registered.agent.description if registered.agent else registered.problem or "",
        "configured": registered.configured,
        "status": view.status,
        "enabled": entry.enabled,
        "schedule": entry.schedule,
        "timezone": str(api.services.agents.zone(registered)),
        "workspace": view.workspace,
        "next_due": to_text(view.upcoming[0]) if view.upcoming else None,
        "paused_at": to_text(record.paused_at) if record.paused_at else None,
        "paused_because": record.paused_because,
        "failures": record.failures,
        "lacks": [{"what": lack.what, "remedy": lack.remedy} for lack in registered.lacks],
        "running": view.running.id if view.running else None,
        "latest": run_data(view.latest) if view.latest else None,
    }


def agent_detail(api: Api, view: AgentView) -> dict[str, Any]:
    """As `AgentDetail`."""
    agent = view.registered.agent
    nothing: Mapping[str, Any] = {}
    return {
        **agent_data(api, view),
        "upcoming": [to_text(moment) for moment in view.upcoming],
        "input_schema": dict(agent.input_schema if agent else nothing),
        "settings_schema": dict(agent.settings_schema if agent else nothing),
        "rerun_is_safe": agent.rerun_is_safe if agent else False,
    }
