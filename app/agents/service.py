"""AgentService: agents as the rest of the program sees them: started when due or when somebody says so, paused, shown.

look(now) ── Calendar.take ── rows: `due` | `skipped` | `missed` ── Runs.launch
trigger   ── checks ───────── row:  `due` ──────────────────────── Runs.launch
recover   ── rows a stop left open ── `interrupted`, and run again only where the agent says that is safe
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Connection
from tzlocal import get_localzone  # APScheduler brings it

from app.agents import run_rows
from app.agents.checking import first_problem
from app.agents.cron import BadSchedule, parse
from app.agents.performing import Tools
from app.agents.planner import Account, Calendar, Plan, upcoming
from app.agents.records import Cause, Outcome, Run, ScheduleRecord, State
from app.agents.registry import Registered, Registry
from app.agents.runs import Live, Runs
from app.config.loader import Config
from app.config.schema import Profile
from app.errors import Conflict, InvalidRequest, SidecarError, UnknownWorkspace
from app.store.tables import to_text

WAIT_SECONDS: Final = 60.0
"""How long `wait: true` waits."""
HOLD: Final = timedelta(seconds=5)
"""After the database could not be written."""
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
        self._calendar = Calendar()
        self._records: dict[str, ScheduleRecord] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tidied: datetime | None = None
        self._looked_at: datetime | None = None
        self._hold_until: datetime | None = None
        self._looking = asyncio.Lock()
        self.runs = Runs(tools, lambda: config().agents.max_running, self._on_end)
        self.rescheduled: Callable[[], None] = lambda: None
        """Called when `next_due` may have become earlier."""

    # -- the schedule

    async def open(self) -> None:
        """Read what outlasts a restart, set the calendar up, deal with what a stop left open."""
        now = self._clock.now()
        self._records = await self._database.read(run_rows.schedules)
        await self.configure()
        await self._recover(now)
        self._looked_at = now

    async def configure(self) -> None:
        """Follow the configuration in force: new schedules count from now, unchanged ones from where they were."""
        now = self._clock.now()
        changed = []
        plans = {plan.agent: plan for plan in map(self._plan, self._registry.all()) if plan is not None}
        for agent in set(self._calendar.agents) - plans.keys():
            self._calendar.remove(agent)
        for agent, plan in plans.items():
            record = self._record(agent)
            same = record.fingerprint == plan.fingerprint and record.accounted_to is not None
            if not same:
                record = self._keep(replace(record, fingerprint=plan.fingerprint, accounted_to=now))
                changed.append(record)
            if not same or self._calendar.plan(agent) != plan:
                assert record.accounted_to is not None
                self._calendar.put(plan, min(record.accounted_to, now))
        for agent, record in self._records.items():
            if agent not in plans and record.fingerprint is not None:
                changed.append(self._keep(replace(record, fingerprint=None, accounted_to=None)))
        await self._store(changed)
        self.rescheduled()

    def reconfigure(self) -> None:
        """`configure`, from where nobody can wait for it."""
        self._soon(self.configure())

    def next_due(self) -> datetime | None:
        """When the next agent is due (UTC); None: never."""
        due = self._calendar.next_due()
        return due if due is None or self._hold_until is None else max(due, self._hold_until)

    async def look(self, now: datetime) -> None:
        """Start what has become due, and write down what was missed."""
        self._looked_at = now
        if self._hold_until is not None and timedelta(0) < self._hold_until - now <= HOLD:
            return
        self._hold_until = None
        async with self._looking:
            taken = self._calendar.take(now)
            found = [(plan, account) for plan, account in taken if self._record(plan.agent).paused_at is None]
            if found:
                await self._answer(found, now)
        if self._tidied is None or now - self._tidied >= RETENTION_EVERY:
            self._tidied = now
            await self.tidy(now)

    async def _answer(self, found: Sequence[tuple[Plan, Account]], now: datetime) -> None:
        """Rows for due times, in one transaction; then the runs among them are launched."""
        reserved: list[tuple[Live, Registered]] = []
        rows: list[Run] = []
        records = []
        before = {plan.agent: self._record(plan.agent) for plan, _ in found}
        for plan, account in found:
            registered = self._known(plan.agent)
            if registered is None:  # gone from agents.yaml a moment ago
                continue
            profile = self._profile_of(registered, None)
            rows += [self._row(registered, profile, State.MISSED, now, due) for due in account.missed]
            if account.missed and account.earlier:
                message = "there were earlier ones, which have no row"
                rows[-len(account.missed)] = replace(rows[-len(account.missed)], error_message=message)
            if account.run is not None:
                run, live = self._reserved(registered, profile, account.run, now)
                rows.append(run)
                if live is not None:
                    reserved.append((live, registered))
            records.append(self._keep(replace(self._record(plan.agent), accounted_to=now)))
        try:
            added = set(await self._database.write(partial(_write_due, rows, records)))
        except SidecarError as error:
            log.error("due agents cannot be started now: %s", error.detail)
            self._take_back(found, before, now)
            added = set()
        for live, registered in reserved:
            self._launch(live, registered) if live.run.id in added else self.runs.release(live)

    def _take_back(
        self, found: Sequence[tuple[Plan, Account]], before: Mapping[str, ScheduleRecord], now: datetime
    ) -> None:
        """The database could not be written: what was due is due again in a while."""
        self._hold_until = now + HOLD
        for plan, account in found:
            record = self._keep(before[plan.agent])
            first = min((*account.missed, *([account.run] if account.run else [])), default=now)
            since = first - timedelta(seconds=1)
            self._calendar.put(plan, min(record.accounted_to or since, since))

    def _reserved(
        self, registered: Registered, profile: Profile, due: datetime, now: datetime
    ) -> tuple[Run, Live | None]:
        """A row for a due time and, where the agent is free and complete, its place."""
        run = self._row(registered, profile, State.DUE, now, due)
        if registered.lacks:
            lack = registered.lacks[0]
            message = f"{lack.what}: {lack.remedy}"
            return replace(run, state=State.SKIPPED, finished_at=now, error_code="agent_not_ready",
                           error_message=message), None  # fmt: skip
        try:
            return run, self.runs.reserve(run)
        except Conflict as conflict:
            other = conflict.extra.get("run_id")
            return replace(run, state=State.SKIPPED, finished_at=now, error_code="agent_running",
                           error_message=f"run {other} was still going on"), None  # fmt: skip

    def _row(self, registered: Registered, profile: Profile, state: State, now: datetime, due: datetime | None) -> Run:
        return Run(
            id=uuid.uuid4().hex,
            agent=registered.entry.name,
            kind=registered.kind,
            workspace=profile.id,
            private=profile.block_cloud_apis,
            cause=Cause.SCHEDULE,
            state=state,
            created_at=now,
            scheduled_at=due,
            input=registered.entry.input,
            finished_at=now if state.over else None,
        )

    def _launch(self, live: Live, registered: Registered, delay: float | None = None) -> None:
        profile = self._config().profile(live.run.workspace)
        if registered.agent is None or profile is None:
            self.runs.release(live)
            return
        if delay is None:
            delay = registered.entry.jitter_seconds * self._clock.chance()
        self.runs.launch(live, registered.agent, registered.entry, profile, delay)

    # -- after a stop

    async def _recover(self, now: datetime) -> None:
        """Runs that were running become `interrupted`; those that never began are begun, if it is not too late."""
        left = await self._database.read(run_rows.open_runs)
        again: list[tuple[Run, Registered]] = []
        for run in left:
            registered = self._known(run.agent)
            if run.state is State.RUNNING:
                message = "the sidecar stopped while it was running"
                await self._close(run, State.INTERRUPTED, now, "interrupted", message)
                agent = registered.agent if registered else None
                if registered and agent is not None and agent.rerun_is_safe and run.cause is not Cause.RERUN:
                    again.append((_rerun(run, now), registered))
            elif registered is not None and self._in_time(run, registered, now):
                again.append((run, registered))
            else:
                await self._close(run, State.MISSED, now, None, "the sidecar stopped before it began")
        for run, registered in again:
            await self._again(run, registered, now)

    async def _again(self, run: Run, registered: Registered, now: datetime) -> None:
        try:
            live = self.runs.reserve(run)
        except Conflict:
            await self._close(run, State.SKIPPED, now, "agent_running", "another run of it was begun first")
            return
        await self._database.write(lambda connection: run_rows.add(connection, [run]))
        self._launch(live, registered, 0.0)

    def _in_time(self, run: Run, registered: Registered, now: datetime) -> bool:
        return now - (run.scheduled_at or run.created_at) <= timedelta(seconds=registered.entry.grace_seconds)

    def _known(self, agent: str) -> Registered | None:
        try:
            return self._registry.find(agent)
        except SidecarError:
            return None

    async def _close(self, run: Run, state: State, now: datetime, code: str | None, message: str) -> None:
        outcome = Outcome(state, now, error_code=code, error_message=message)

        def write(connection: Connection) -> None:
            progress, lines = run.progress, run_rows.get_log(connection, run.id)
            run_rows.finish(connection, run.id, outcome, progress, lines, False)

        await self._database.write(write)

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
        profile = self._profile_of(registered, workspace)
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
            self._row(registered, profile, State.DUE, self._clock.now(), None),
            cause=Cause.TRIGGER,
            input=asked,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint if idempotency_key else None,
        )
        other = self.runs.live(name)
        if other is not None and idempotency_key is not None and other.idempotency_key == idempotency_key:
            return other  # sent twice at once
        live = self.runs.reserve(run)
        try:
            await self._database.write(lambda connection: run_rows.add(connection, [run]))
        except BaseException:
            self.runs.release(live)
            raise
        self._launch(live, registered, 0.0)
        return run

    async def _known_key(self, key: str, fingerprint: str) -> Run | None:
        known = await self._database.read(lambda connection: run_rows.by_key(connection, key))
        if known is not None and known.fingerprint != fingerprint:
            raise InvalidRequest(
                "this Idempotency-Key was used for another request",
                code="idempotency_key_reused",
                field="Idempotency-Key",
            )
        return known

    async def pause(self, name: str, because: str = "somebody paused it") -> AgentView:
        """Its schedule rests until `resume`, also over restarts; it can still be triggered. Raises `NotFound`."""
        self._registry.find(name)
        if self._record(name).paused_at is None:
            now = self._clock.now()
            await self._store([self._keep(replace(self._record(name), paused_at=now, paused_because=because))])
        return await self.view(name)

    async def resume(self, name: str) -> AgentView:
        """Its schedule goes on from now; what was due meanwhile is not made up for. Raises `NotFound`."""
        self._registry.find(name)
        now = self._clock.now()
        record = replace(self._record(name), paused_at=None, paused_because=None, failures=0)
        if (plan := self._calendar.plan(name)) is not None:
            record = replace(record, accounted_to=now)
            self._calendar.put(plan, now)
        await self._store([self._keep(record)])
        self.rescheduled()
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
        record = self._record(name)
        plan = self._calendar.plan(name)
        times = upcoming(plan, self._clock.now(), count) if plan and record.paused_at is None else []
        workspace = registered.entry.workspace or self._config().default_profile.id
        return AgentView(registered, workspace, record, self.runs.live(name), tuple(times), latest)

    def zone(self, registered: Registered) -> tzinfo:
        """The agent's, else its workspace's, else the machine's."""
        profile = self._profile_of(registered, None)
        name = registered.entry.timezone or profile.timezone
        return ZoneInfo(name) if name else machine_zone()

    def health(self) -> dict[str, Any]:
        """The part `agents` of `/health`."""
        paused = [record for record in self._records.values() if record.paused_at is not None and record.failures]
        found: dict[str, Any] = {
            "status": "ok",
            "scheduled": len(self._calendar.agents),
            "running": [live.run.agent for live in self.runs.all_live()],
            "next_due": to_text(due) if (due := self.next_due()) else None,
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
        record = self._record(run.agent)
        failures = record.failures + 1 if outcome.state is State.FAILED else 0
        if failures == record.failures:
            return
        record = self._keep(replace(record, failures=failures))
        registered = self._known(run.agent)
        most = registered.entry.max_failures if registered else 0
        if most and failures >= most and record.paused_at is None:
            because = f"{failures} runs in a row failed, the last one with: {outcome.error_message}"
            record = self._keep(replace(record, paused_at=outcome.finished_at, paused_because=because))
            self._soon(self._tell_paused(run, because, private))
        self._soon(self._store([record]))

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

    def _plan(self, registered: Registered) -> Plan | None:
        entry = registered.entry
        if not entry.enabled or entry.schedule is None or registered.agent is None:
            return None
        try:
            schedule = parse(entry.schedule)
        except BadSchedule:  # the check of the configuration has refused it
            return None
        return Plan(entry.name, schedule, self.zone(registered), timedelta(seconds=entry.grace_seconds))

    def _profile_of(self, registered: Registered, workspace: str | None) -> Profile:
        config = self._config()
        name = workspace or registered.entry.workspace or config.profiles.default_workspace
        profile = config.profile(name)
        if profile is None:
            known = ", ".join(p.id for p in config.profiles.profiles)
            raise UnknownWorkspace(f"there is no workspace {name!r}; profiles.yaml has: {known}", field="workspace")
        return profile

    def _record(self, agent: str) -> ScheduleRecord:
        return self._records.get(agent) or ScheduleRecord(agent)

    def _keep(self, record: ScheduleRecord) -> ScheduleRecord:
        self._records[record.agent] = record
        return record

    async def _store(self, records: Sequence[ScheduleRecord]) -> None:
        if records:
            await self._database.write(partial(_write_due, (), records))


def _write_due(rows: Sequence[Run], records: Sequence[ScheduleRecord], connection: Connection) -> list[str]:
    for record in records:
        run_rows.put_schedule(connection, record)
    return run_rows.add(connection, rows)


def _check_ready(registered: Registered) -> None:
    if registered.lacks:
        lacks = "; ".join(f"{lack.what} ({lack.remedy})" for lack in registered.lacks)
        raise Conflict(f"the agent `{registered.entry.name}` cannot run yet: {lacks}", code="agent_not_ready")


def _rerun(run: Run, now: datetime) -> Run:
    return Run(
        id=uuid.uuid4().hex,
        agent=run.agent,
        kind=run.kind,
        workspace=run.workspace,
        private=run.private,
        cause=Cause.RERUN,
        state=State.DUE,
        created_at=now,
        rerun_of=run.id,
        dry_run=run.dry_run,
        input=run.input,
    )


def _fingerprint(name: str, workspace: str, given: Mapping[str, Any], dry_run: bool) -> str:
    text = orjson.dumps([name, workspace, dict(given), dry_run], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def machine_zone() -> tzinfo:
    """The machine's zone with its changes of clocks, where the system says which it is; else its offset of today."""
    try:
        return get_localzone()
    except Exception:
        return datetime.now(UTC).astimezone().tzinfo or UTC
