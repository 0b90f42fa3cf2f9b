"""Runs: those going on, and the history of all.

    reserve ── row `due` ── launch ── (jitter) ── a place among those that run ── `running` ── `ok` | `failed` | ...
       │ the agent is running: Conflict                                              │ cancel: `cancelled`
       ▼                                                                             │ the sidecar stops: nothing is
     409, or a `skipped` row                                                         ▼ written; the next start finds it

An agent's place is reserved before its row is written, so that two starts can never both succeed. `running` is on disk
before the agent's first line, and the end of a run in one transaction with the state it leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from app.agents import run_rows
from app.agents.base import Agent
from app.agents.performing import Ending, Tools, perform
from app.agents.privacy import Taint
from app.agents.records import Outcome, Run, RunCost, State
from app.agents.runlog import Heard, Line, Progress, RunLog, numbered
from app.config.schema import AgentEntry, Profile
from app.errors import Conflict, NotFound, SidecarError
from app.store.tables import to_text
from app.usage.queries import Cursor, decode_cursor, encode_cursor

KEEP_SECONDS: Final = 2.0
"""How often what a running run has said is kept, in case it is cut off."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Live:
    """A run that is due or running in this process."""

    run: Run
    log: RunLog
    taint: Taint
    """Of all its tries: what one has read stands in the log of the whole run."""
    task: asyncio.Task[None] | None = None
    begun: bool = False
    cancelled: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with what it cost and what it said."""

    run: Run
    cost: RunCost
    lines: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RunPage:
    runs: tuple[Run, ...]
    next_cursor: str | None


Ended = Callable[[Run, Outcome, bool], None]
"""A run, how it ended, and whether what that says is private."""


class Runs:
    """One per process. `most` returns how many may run at once; `ended` is told of every end."""

    def __init__(self, tools: Tools, most: Callable[[], int], ended: Ended) -> None:
        self._tools = tools
        self._database = tools.database
        self._most = most
        self._ended = ended
        self._live: dict[str, Live] = {}
        self._by_id: dict[str, Live] = {}
        self._running = 0
        self._changed = asyncio.Condition()

    # -- starting

    def live(self, agent: str) -> Run | None:
        """The agent's run that is due or running."""
        found = self._live.get(agent)
        return found.run if found else None

    def all_live(self) -> list[Live]:
        return list(self._by_id.values())

    def reserve(self, run: Run) -> Live:
        """The agent's place for this run. Raises `Conflict` (`agent_running`) with the id of the run that has it."""
        if (other := self._live.get(run.agent)) is not None:
            raise Conflict(
                f"the agent `{run.agent}` is running; wait for run {other.run.id}, or cancel it",
                code="agent_running",
                run_id=other.run.id,
            )
        taint = Taint(run.private, lambda: self._tools.private_now(run.workspace))
        live = Live(run, RunLog(run.id, self._tools.clock.now, self._tools.redact), taint)
        self._live[run.agent] = self._by_id[run.id] = live
        return live

    def release(self, live: Live) -> None:
        """The place is free again; whoever waits for the run's end is told."""
        if self._live.get(live.run.agent) is live:
            del self._live[live.run.agent]
        self._by_id.pop(live.run.id, None)
        live.log.close()
        live.over.set()

    def launch(self, live: Live, agent: Agent, entry: AgentEntry, profile: Profile, delay: float = 0.0) -> None:
        """Start a reserved run whose row is stored, `delay` seconds from now or when there is room."""
        live.task = asyncio.create_task(self._go(live, agent, entry, profile, delay), name=f"agent-{live.run.agent}")
        # Not a `finally` in the task: one that is cancelled before its first step runs none.
        live.task.add_done_callback(lambda _: self.release(live))

    async def _go(self, live: Live, agent: Agent, entry: AgentEntry, profile: Profile, delay: float) -> None:
        live.begun = True
        outcome = await self._whole(live, agent, entry, profile, delay)
        if outcome is not None:
            self._ended(live.run, outcome, live.taint.private)

    async def _whole(
        self, live: Live, agent: Agent, entry: AgentEntry, profile: Profile, delay: float
    ) -> Outcome | None:
        """The run's outcome, which is on disk; None where the sidecar stopped before there was one."""
        try:
            if live.cancelled:
                raise asyncio.CancelledError
            if delay:
                live.log.progress(f"starts {delay:.0f} s late by chance (jitter)")
                await self._tools.clock.sleep(delay)
            await self._room(live)
            try:
                ending = await self._watched(
                    live, perform(self._tools, live.run, agent, entry, profile, live.log, live.taint)
                )
            finally:
                await self._leave()
        except asyncio.CancelledError:
            if not live.cancelled:
                await self._keep(live)
                raise
            ending = Ending(Outcome(State.CANCELLED, self._tools.clock.now()), live.taint.private)
        except SidecarError as error:  # the database: there is nowhere to write the end either
            log.error("run %s of %s was given up: %s", live.run.id, live.run.agent, error.detail)
            ending = self._given_up(live, error.code, error.detail)
        except Exception:  # a fault of ours: the run must end all the same
            log.exception("run %s of %s broke", live.run.id, live.run.agent)
            ending = self._given_up(
                live, "internal_error", "something went wrong inside the sidecar; its log says what"
            )
        return await self._finish(live, ending)

    def _given_up(self, live: Live, code: str, message: str) -> Ending:
        now = self._tools.clock.now()
        return Ending(Outcome(State.FAILED, now, error_code=code, error_message=message), live.taint.private)

    async def _room(self, live: Live) -> None:
        async with self._changed:
            if self._running >= self._most():
                live.log.progress("waiting: as many agents are running as agents.yaml allows (max_running)")
            while self._running >= self._most():
                await self._changed.wait()
            self._running += 1

    async def _leave(self) -> None:
        self._running -= 1
        async with self._changed:
            self._changed.notify_all()

    async def _watched(self, live: Live, work: Any) -> Ending:
        """The work's end; what it says meanwhile is kept now and then."""
        task = asyncio.ensure_future(work)
        kept = live.log.version
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=KEEP_SECONDS)
                if done:
                    ending: Ending = task.result()
                    return ending
                if live.log.version != kept:
                    kept = live.log.version
                    await self._keep(live)
        except asyncio.CancelledError:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise

    async def _keep(self, live: Live) -> None:
        progress, lines = live.log.to_json()
        with suppress(SidecarError):
            self._database.write_soon(
                partial(run_rows.note, run_id=live.run.id, progress=progress, lines=lines, private=live.taint.private),
                durable=False,
            )

    async def _finish(self, live: Live, ending: Ending) -> Outcome:
        run, outcome = live.run, ending.outcome
        progress, lines = live.log.to_json()

        def write(connection: Connection) -> None:
            if not run_rows.finish(connection, run.id, outcome, progress, lines, ending.private):
                return
            if ending.state is not None:
                run_rows.put_state(
                    connection, run.agent, run.workspace, ending.state, ending.private, outcome.finished_at
                )

        try:
            await self._database.write(write)
        except SidecarError as error:
            log.error("the end of run %s of %s could not be stored: %s", run.id, run.agent, error.detail)
        return outcome

    # -- looking, waiting, ending

    async def get(self, run_id: str) -> RunDetail:
        """Raises `NotFound` (`run_not_found`)."""
        live = self._by_id.get(run_id)

        def read(connection: Connection) -> tuple[Run | None, RunCost, list[dict[str, Any]]]:
            return (
                run_rows.get(connection, run_id),
                run_rows.cost(connection, run_id),
                run_rows.get_log(connection, run_id),
            )

        run, cost, lines = await self._database.read(read)
        if run is None:
            raise NotFound("there is no run of that id; runs are kept for keep_days", code="run_not_found")
        if live is not None and not run.state.over:
            progress, lines = live.log.to_json()
            run = replace(run, progress=progress)
        return RunDetail(run, cost, lines)

    async def page(
        self, agent: str | None, *, state: State | None = None, limit: int = 50, cursor: str | None = None
    ) -> RunPage:
        """The latest first. Raises `InvalidRequest` for a cursor that is none."""
        after = decode_cursor(cursor) if cursor else None
        key = (after.created_at, after.id) if after else None
        wanted = state.value if state else None
        found = await self._database.read(lambda c: run_rows.page(c, agent, wanted, limit + 1, key))
        if len(found) <= limit:
            return RunPage(tuple(found), None)
        last = found[limit - 1]
        return RunPage(tuple(found[:limit]), encode_cursor(Cursor(to_text(last.created_at), last.id)))

    async def wait(self, run_id: str, seconds: float) -> bool:
        """True once the run is over; False where it goes on after so many seconds."""
        live = self._by_id.get(run_id)
        if live is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                await live.over.wait()
        except TimeoutError:
            return False
        return True

    async def listen(self, run_id: str, after: int = 0) -> AsyncIterator[list[Heard]]:
        """What the run has said after line `after` and says, until it is over. Raises `NotFound`."""
        live = self._by_id.get(run_id)
        if live is not None:
            async for heard in live.log.listen(after):
                yield heard
            return
        detail = await self.get(run_id)
        lines = numbered([Line(**line) for line in detail.lines])
        told = [heard for heard in lines if heard.number > after]
        if detail.run.progress is not None:
            told.append(Heard(lines[-1].number if lines else 0, Progress(**detail.run.progress)))
        if told:
            yield told

    async def cancel(self, run_id: str) -> Run:
        """End a run that is due or running; returns it as it is then.

        Raises `NotFound`, or `Conflict` (`run_over`) where it had ended.
        """
        live = self._by_id.get(run_id)
        if live is None:
            detail = await self.get(run_id)
            raise Conflict(f"the run is over: {detail.run.state.value}", code="run_over", state=detail.run.state.value)
        live.cancelled = True
        if live.task is not None and live.begun:  # one that has not begun looks at the mark when it does
            live.task.cancel()
        await live.over.wait()
        return (await self.get(run_id)).run

    async def aclose(self) -> None:
        """Stop what runs. Rows stay as they are: the next start finds them and says `interrupted`."""
        tasks = [live.task for live in self._by_id.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
