"""Launching: from an entry of agents.yaml to a run that goes: whose it is, its row, its place, its start."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from tzlocal import get_localzone  # APScheduler brings it

from app.agents.records import Cause, Run, State
from app.agents.registry import Registered, Registry
from app.agents.runs import Live, Runs
from app.config.loader import Config
from app.config.schema import Profile
from app.errors import Conflict, SidecarError
from app.llm.clock import Clock


class Launcher:
    """What the schedule, a trigger and a recovery start runs by. `config` returns the configuration in force."""

    def __init__(self, registry: Registry, runs: Runs, config: Callable[[], Config], clock: Clock) -> None:
        self._registry = registry
        self._runs = runs
        self._config = config
        self._clock = clock

    def known(self, agent: str) -> Registered | None:
        """The agent's entry; None where it is gone from agents.yaml."""
        try:
            return self._registry.find(agent)
        except SidecarError:
            return None

    def profile_of(self, registered: Registered, workspace: str | None) -> Profile:
        """The workspace asked for, else the entry's, else the default one. Raises `UnknownWorkspace`."""
        return self._config().known_profile(workspace or registered.entry.workspace or None)

    def zone(self, registered: Registered) -> tzinfo:
        """The agent's, else its workspace's, else the machine's."""
        profile = self.profile_of(registered, None)
        name = registered.entry.timezone or profile.timezone
        return ZoneInfo(name) if name else machine_zone()

    def row(self, registered: Registered, profile: Profile, state: State, now: datetime, due: datetime | None) -> Run:
        """A new run of it, not stored yet."""
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

    def reserved(
        self, registered: Registered, profile: Profile, due: datetime, now: datetime
    ) -> tuple[Run, Live | None]:
        """A row for a due time and, where the agent is free and complete, its place."""
        run = self.row(registered, profile, State.DUE, now, due)
        if registered.lacks:
            lack = registered.lacks[0]
            message = f"{lack.what}: {lack.remedy}"
            return replace(run, state=State.SKIPPED, finished_at=now, error_code="agent_not_ready",
                           error_message=message), None  # fmt: skip
        try:
            return run, self._runs.reserve(run)
        except Conflict as conflict:
            other = conflict.extra.get("run_id")
            return replace(run, state=State.SKIPPED, finished_at=now, error_code="agent_running",
                           error_message=f"run {other} was still going on"), None  # fmt: skip

    def launch(self, live: Live, registered: Registered, delay: float | None = None) -> None:
        """Start a run whose row is stored; after the entry's jitter where no `delay` (seconds) is given."""
        profile = self._config().profile(live.run.workspace)
        if registered.agent is None or profile is None:
            self._runs.release(live)
            return
        if delay is None:
            delay = registered.entry.jitter_seconds * self._clock.chance()
        self._runs.launch(live, registered.agent, registered.entry, profile, delay)


def machine_zone() -> tzinfo:
    """The machine's zone with its changes of clocks, where the system says which it is; else its offset of today."""
    try:
        return get_localzone()
    except Exception:
        return datetime.now(UTC).astimezone().tzinfo or UTC
