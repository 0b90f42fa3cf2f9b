"""One run, from its context to its outcome: time limit, further tries, and what an error means."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson

from app.agents import run_rows
from app.agents.base import Agent, AgentContext, AgentResult, NotificationService, OutsideHttp, Severity
from app.agents.checking import first_problem
from app.agents.data import AgentData, AgentMemory, AgentStore, withholding
from app.agents.door import AgentRouter, Router
from app.agents.graph import AgentGraph
from app.agents.privacy import Taint
from app.agents.records import Outcome, Run, State
from app.agents.runlog import RunLog
from app.config.schema import AgentEntry, Profile
from app.errors import SidecarError
from app.llm.clock import Clock
from app.memory.graph import EntityGraph
from app.memory.workspace import WorkspaceMemory
from app.store.database import Database

log = logging.getLogger(__name__)

MAX_SUMMARY: Final = 200_000
"""Characters."""
MAX_DATA_BYTES: Final = 2_000_000
MAX_STATE_BYTES: Final = 2_000_000
CANCEL_SECONDS: Final = 2.0
"""How long an agent may take to end once its time is up; then it is left behind and its end no longer counts."""

OpenHttp = Callable[[str, Sequence[str], Callable[[], bool]], OutsideHttp]
"""A client for an agent of this workspace that may ask these hosts, as long as its run is not private: asked at each
request."""
OpenNotifications = Callable[[str, Profile, str, Callable[[], bool]], NotificationService]
"""Notifications of this agent, profile and run. The last one says, when it is asked, whether the run has read what was
written while the workspace was private: then what it tells is private, too."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What runs are made of."""

    database: Database
    memory: WorkspaceMemory
    entities: EntityGraph
    router: Router
    clock: Clock
    redact: Callable[[str], str]
    http: OpenHttp
    private_now: Callable[[str], bool]
    """Whether the workspace is private at the moment; one that nobody knows any more is."""
    notifications: OpenNotifications


@dataclass(frozen=True, slots=True)
class Ending:
    """An outcome, and what is to be kept with it. `state` None: nothing of the run's state is kept."""

    outcome: Outcome
    private: bool
    state: str | None = None
    """JSON text."""


class BadState(SidecarError):
    """What an agent left in its state, data or summary cannot be kept."""

    code, title = "bad_result", "Unusable result"


class TimeUp(SidecarError):
    status, code, title = 504, "timeout", "Timed out"


class Withheld:
    """The notification service of a dry run: notes, and tells nobody."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    async def notify(
        self,
        title: str,
        body: str = "",
        *,
        severity: Severity = "info",
        links: Sequence[Mapping[str, str]] = (),
        dedupe_key: str | None = None,
    ) -> str | None:
        self._notes.append(f"would notify ({severity}): {title}")
        return None


async def perform(
    tools: Tools, run: Run, agent: Agent, entry: AgentEntry, profile: Profile, runlog: RunLog, taint: Taint
) -> Ending:
    """Run the agent, with its further tries. Raises `CancelledError` where the run is cancelled, and nothing else."""
    tries = entry.retries + 1
    for number in range(1, tries + 1):
        await tools.database.write(partial(run_rows.start, run_id=run.id, now=tools.clock.now(), attempt=number))
        ending = await _try(tools, run, agent, entry, profile, runlog, taint)
        if ending.outcome.state is State.OK or number == tries:
            return ending
        wait = min(entry.retry_seconds * 2 ** (number - 1), 3600.0)
        runlog.warning(f"try {number} of {tries} failed: {ending.outcome.error_message}")
        runlog.progress(f"trying again in {wait:g} s ({number + 1} of {tries})")
        await tools.clock.sleep(wait)
    raise AssertionError("there is at least one try")


async def _try(
    tools: Tools, run: Run, agent: Agent, entry: AgentEntry, profile: Profile, runlog: RunLog, taint: Taint
) -> Ending:
    notes: list[str] = []
    try:
        context = await _context(tools, run, agent, entry, profile, runlog, taint, notes)
        problem = first_problem(dict(entry.settings), agent.settings_schema, "settings")
        if problem:
            raise SidecarError(f"agents.yaml: {entry.name}: {problem}")
        result = await _within(agent.run(context), entry.timeout_seconds)
        return _ended_well(result, context, notes, taint, run.dry_run)
    except SidecarError as error:
        return _failed(tools, error.code, error.detail, notes, taint)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        # Anything may come out of an agent; where it comes from is for its author, in the run's log.
        runlog.error("".join(traceback.format_exception(error))[-1_900:])
        log.warning("the agent %s failed: %s", run.agent, type(error).__name__)
        return _failed(
            tools, "agent_error", f"{type(error).__name__} in the agent; the run's log has the rest", notes, taint
        )


async def _within(work: Awaitable[AgentResult], seconds: float) -> AgentResult:
    """The result within the time limit. An agent that swallows its cancellation is left behind."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
        raise
    if done:
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    raise TimeUp(f"it took longer than timeout_seconds: {seconds:g}")


async def _left_by_the_last(
    database: Database, agent: str, workspace: str, taint: Taint, open_only: bool
) -> tuple[dict[str, Any], datetime | None]:
    """The state the agent's last run left, and when one last went well. A private state is read or kept from it."""
    (state, private), last = await database.read(
        lambda c: (run_rows.get_state(c, agent, workspace), run_rows.last_success(c, agent, workspace))
    )
    if private and open_only:
        return {}, last
    taint.read_private(private)
    return state, last


async def _context(
    tools: Tools,
    run: Run,
    agent: Agent,
    entry: AgentEntry,
    profile: Profile,
    runlog: RunLog,
    taint: Taint,
    notes: list[str],
) -> AgentContext:
    workspace, now = profile.id, tools.clock.now
    open_only = not agent.reads_private and not taint.private
    storing = withholding(notes, run.dry_run)
    state, last = await _left_by_the_last(tools.database, run.agent, workspace, taint, open_only)
    store = AgentStore(
        tools.database, agent=run.agent, profile=profile, run_id=run.id, now=now, taint=taint, storing=storing,
        dry_run=run.dry_run, open_only=open_only,
    )  # fmt: skip
    router = AgentRouter(
        tools.router, run_id=run.id, agent=run.agent, workspace=workspace, log=runlog, taint=taint
    )  # fmt: skip
    notifications = (
        Withheld(notes) if run.dry_run else tools.notifications(run.agent, profile, run.id, lambda: taint.private)
    )
    return AgentContext(
        run_id=run.id,
        agent=run.agent,
        workspace_profile=profile,
        memory=AgentMemory(tools.memory, workspace, taint, storing, open_only),
        graph=AgentGraph(
            tools.entities, agent=run.agent, workspace=workspace, taint=taint, storing=storing, open_only=open_only
        ),
        data=AgentData(tools.database.path, workspace, taint, open_only),
        store=store,
        llm_router=router,
        notification_service=notifications,
        http=tools.http(workspace, entry.hosts, lambda: taint.private),
        log=runlog,
        now=now,
        input=run.input,
        settings=entry.settings,
        state=state,
        storing=storing,
        dry_run=run.dry_run,
        scheduled_at=run.scheduled_at,
        last_success=last,
    )


def _ended_well(
    result: AgentResult, context: AgentContext, notes: Sequence[str], taint: Taint, dry_run: bool
) -> Ending:
    if not isinstance(result, AgentResult):
        raise BadState(f"the agent returned {type(result).__name__} and not an AgentResult")
    _as_json("its data", dict(result.data), MAX_DATA_BYTES)
    state = _as_json("its state", context.state, MAX_STATE_BYTES)
    stored = tuple(dict.fromkeys([*context.store.stored, *(str(one) for one in result.stored)]))
    outcome = Outcome(
        State.OK,
        context.now(),
        result.summary[:MAX_SUMMARY].encode("utf-8", "replace").decode(),
        dict(result.data),
        () if dry_run else stored,
        tuple(notes),
    )
    return Ending(outcome, taint.private, None if dry_run else state)


def _as_json(what: str, value: object, most: int) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError as error:
        raise BadState(f"the agent left something in {what} that is no JSON: {error}") from None
    if len(text) > most:
        raise BadState(f"the agent left {len(text)} bytes in {what}; at most {most} are kept")
    return text


def _failed(tools: Tools, code: str, message: str, notes: Sequence[str], taint: Taint) -> Ending:
    text = tools.redact(message)[:2_000]
    outcome = Outcome(State.FAILED, tools.clock.now(), withheld=tuple(notes), error_code=code, error_message=text)
    return Ending(outcome, taint.private)
