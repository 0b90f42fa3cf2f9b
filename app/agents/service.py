"""AgentService: agents as the rest of the program sees them: started when due or when somebody says so, paused, shown.

look(now) ── schedule.py ── rows `due` | `skipped` | `missed` ──┐
trigger   ── checks ─────── row  `due` ─────────────────────────┼── launching.py ── runs.py
open      ── recovery.py ── `interrupted`, perhaps once more ───┘
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import orjson

from app.agents import run_rows
from app.agents.checking import first_problem
from app.agents.launching import Launcher
from app.agents.performing import Tools
from app.agents.records import Cause, Outcome, Run, ScheduleRecord, State
from app.agents.recovery import Recovery
from app.agents.registry import Registered, Registry
from app.agents.runs import Runs
from app.agents.schedule import Schedule
from app.config.loader import Config
from app.errors import Conflict, InvalidRequest, SidecarError
from app.store.tables import to_text

WAIT_SECONDS: Final = 60.0
"""How long `wait: true` waits."""
LOOKED_LATELY: Final = timedelta(minutes=2)
"""The scheduler looks every 30 s at least; longer than this, and it has come to a stand."""
RETENTION_EVERY: Final = timedelta(hours=6)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent, for people. `upcoming` is empty where it is not scheduled, rests or is paused."""

    registered: Registered
    workspace: str
    record: ScheduleRecord
    running: Run | None
    upcoming: tuple[datetime, ...]
    latest: Run | None = None

    @property
    def status(self) -> str:
        """running, paused, incomplete (it lacks something), scheduled, manual."""
        if self.running is not None:
            return "running"
        if self.record.paused_at is not None:
            return "paused"
        if self.registered.lacks:
            return "incomplete"
        entry = self.registered.entry
        return "scheduled" if entry.enabled and entry.schedule else "manual"


class AgentService:
    """One per process. `config` returns the current configuration."""

    def __init__(self, tools: Tools, registry: Registry, config: Callable[[], Config]) -> None:
        self._tools = tools
        self._database = tools.database
        self._clock = tools.clock
        self._registry = registry
        self._config = config
        self._tasks: set[asyncio.Task[None]] = set()
        self._tidied: datetime | None = None
        self._looked_at: datetime | None = None
        self.runs = Runs(tools, lambda: config().agents.max_running, self._on_end)
        self._launcher = Launcher(registry, self.runs, config, tools.clock)
        self.schedule = Schedule(tools.database, tools.clock, registry, self.runs, self._launcher)

    # -- the schedule

    async def open(self) -> None:
        """Read what outlasts a restart, set the calendar up, deal with what a stop left open."""
        now = self._clock.now()
        await self.schedule.open()
        await Recovery(self._database, self.runs, self._launcher).recover(now)
        self._looked_at = now

    def reconfigure(self) -> None:
        """Follow the configuration in force, from where nobody can wait for it."""
        self._soon(self.schedule.configure())

    async def look(self, now: datetime) -> None:
        """Start what has become due, and write down what was missed."""
        self._looked_at = now
        await self.schedule.look(now)
        if self._tidied is None or now - self._tidied >= RETENTION_EVERY:
            self._tidied = now
            await self.tidy(now)

    # -- by hand

    async def trigger(
        self,
        name: str,
        *,
        workspace: str | None = None,
        given: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run now; with a key that was used before, the run it started then.

        Raises `NotFound`, `UnknownWorkspace`, `InvalidRequest`, `Conflict` (`agent_running`, `agent_not_ready`).
        """
        registered = self._registry.find(name)
        profile = self._launcher.profile_of(registered, workspace)
        asked = {**registered.entry.input, **(given or {})}
        fingerprint = _fingerprint(name, profile.id, given or {}, dry_run)
        if idempotency_key is not None and (known := await self._known_key(idempotency_key, fingerprint)):
            return known
        _check_ready(registered)
        assert registered.agent is not None
        if problem := first_problem(asked, registered.agent.input_schema, "input"):
            field = problem.partition(":")[0]
            raise InvalidRequest(problem, field=field)
        run = replace(
            self._launcher.row(registered, profile, State.DUE, self._clock.now(), None),
            cause=Cause.TRIGGER,
            input=asked,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint if idempotency_key else None,
        )
        other = self.runs.live(name)
        if other is not None and idempotency_key is not None and other.idempotency_key == idempotency_key:
            return _same(other, fingerprint)  # sent twice at once
        return await self._start(run, registered, fingerprint)

    async def _start(self, run: Run, registered: Registered, fingerprint: str) -> Run:
        """Its row first, then the run; or the run that its key has started since that was looked up."""
        live = self.runs.reserve(run)
        try:
            added = await self._database.write(lambda connection: run_rows.add(connection, [run]))
        except BaseException:
            self.runs.release(live)
            raise
        if not added:  # the key was used while we looked for it: for another agent, or for a run that is over by now
            self.runs.release(live)
            assert run.idempotency_key is not None, "nothing else of a triggered run may be there already"
            return await self._known_key(run.idempotency_key, fingerprint) or run
        self._launcher.launch(live, registered, 0.0)
        return run

    async def _known_key(self, key: str, fingerprint: str) -> Run | None:
        known = await self._database.read(lambda connection: run_rows.by_key(connection, key))
        return None if known is None else _same(known, fingerprint)

    async def pause(self, name: str, because: str = "somebody paused it") -> AgentView:
        """Its schedule rests until `resume`, also over restarts; it can still be triggered. Raises `NotFound`."""
        self._registry.find(name)
        await self.schedule.pause(name, because)
        return await self.view(name)

    async def resume(self, name: str) -> AgentView:
        """Its schedule goes on from now; what was due meanwhile is not made up for. Raises `NotFound`."""
        self._registry.find(name)
        await self.schedule.resume(name)
        return await self.view(name)

    # -- looking

    async def view(self, name: str, upcoming_count: int = 5) -> AgentView:
        """One agent. Raises `NotFound`."""
        registered = self._registry.find(name)
        latest = (await self.runs.page(name, limit=1)).runs
        return self._view(registered, upcoming_count, latest[0] if latest else None)

    async def views(self) -> list[AgentView]:
        """All of them."""
        found = self._registry.all()
        latest = await self._database.read(lambda c: run_rows.latest(c, [r.entry.name for r in found]))
        return [self._view(registered, 1, latest.get(registered.entry.name)) for registered in found]

    def _view(self, registered: Registered, count: int, latest: Run | None) -> AgentView:
        name = registered.entry.name
        times = self.schedule.upcoming(name, count)
        workspace = registered.entry.workspace or self._config().default_profile.id
        return AgentView(registered, workspace, self.schedule.record(name), self.runs.live(name), times, latest)

    def zone(self, registered: Registered) -> tzinfo:
        """The agent's, else its workspace's, else the machine's."""
        return self._launcher.zone(registered)

    def health(self) -> dict[str, Any]:
        """The part `agents` of `/health`."""
        paused = [record for record in self.schedule.records if record.paused_at is not None and record.failures]
        found: dict[str, Any] = {
            "status": "ok",
            "scheduled": len(self.schedule.agents),
            "running": [live.run.agent for live in self.runs.all_live()],
            "next_due": to_text(due) if (due := self.schedule.next_due()) else None,
        }
        if absent := [r.problem for r in self._registry.all() if r.configured and r.problem is not None]:
            found["warnings"] = absent
        if paused:
            first = paused[0]
            found |= {
                "status": "degraded",
                "reason": f"the agent {first.agent} was paused: {first.paused_because}",
                "remedy": f"llm-sidecar agents logs {first.agent}, then llm-sidecar agents resume {first.agent}",
            }
        return found

    def scheduler_health(self, now: datetime) -> dict[str, Any]:
        """The part `scheduler` of `/health`: whether anybody still looks at what is due."""
        looked = self._looked_at
        found: dict[str, Any] = {"status": "ok", "looked_at": None if looked is None else to_text(looked)}
        if looked is not None and now - looked > LOOKED_LATELY:
            found |= {
                "status": "degraded",
                "reason": f"nobody has looked at what is due since {to_text(looked)}",
                "remedy": "restart the sidecar, and see its log for why; after a suspend it takes half a minute",
            }
        return found

    # -- the rest

    async def tidy(self, now: datetime) -> int:
        """Remove runs older than `keep_days`; returns how many."""
        before = now - timedelta(days=self._config().agents.keep_days)
        try:
            return await self._database.write(lambda connection: run_rows.remove_before(connection, before))
        except SidecarError as error:
            log.warning("old runs could not be removed: %s", error.detail)
            return 0

    async def aclose(self) -> None:
        await self.runs.aclose()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_end(self, run: Run, outcome: Outcome, private: bool) -> None:
        """Count failures in a row; after too many the agent is paused, and people are told."""
        if run.dry_run or outcome.state not in (State.OK, State.FAILED):
            return
        record = self.schedule.record(run.agent)
        failures = record.failures + 1 if outcome.state is State.FAILED else 0
        if failures == record.failures:
            return
        record = replace(record, failures=failures)
        registered = self._launcher.known(run.agent)
        most = registered.entry.max_failures if registered else 0
        if most and failures >= most and record.paused_at is None:
            because = f"{failures} runs in a row failed, the last one with: {outcome.error_message}"
            record = replace(record, paused_at=outcome.finished_at, paused_because=because)
            self._soon(self._tell_paused(run, because, private))
        self._soon(self.schedule.store([self.schedule.keep(record)]))

    async def _tell_paused(self, run: Run, because: str, private: bool) -> None:
        profile = self._config().profile(run.workspace)
        if profile is not None:
            told = self._tools.notifications(run.agent, profile, run.id, lambda: private)
            body = f"{because}. `llm-sidecar agents resume {run.agent}` lets it go on."
            await told.notify(
                f"The agent {run.agent} was paused", body, severity="error", dedupe_key=f"agent-paused:{run.agent}"
            )

    def _soon(self, work: Any) -> None:
        async def guarded() -> None:
            try:
                await work
            except SidecarError as error:
                log.error("after a run: %s", error.detail)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_ready(registered: Registered) -> None:
    if registered.lacks:
        lacks = "; ".join(f"{lack.what} ({lack.remedy})" for lack in registered.lacks)
        raise Conflict(f"the agent `{registered.entry.name}` cannot run yet: {lacks}", code="agent_not_ready")


def _same(known: Run, fingerprint: str) -> Run:
    """The run that a key was used for, if that was for the same request. Raises `InvalidRequest`."""
    if known.fingerprint != fingerprint:
        raise InvalidRequest(
            "this Idempotency-Key was used for another request", code="idempotency_key_reused", field="Idempotency-Key"
        )
    return known


def _fingerprint(name: str, workspace: str, given: Mapping[str, Any], dry_run: bool) -> str:
    text = orjson.dumps([name, workspace, dict(given), dry_run], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()
