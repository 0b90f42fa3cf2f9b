"""A service of agents on a real database, and agents that play a script: for schedules driven by hand.

    entries = [{"name": "scripted", "schedule": "0 6 * * *"}]
    async with open_agent_service(tmp_path, [ScriptedAgent()], entries, HandClock()) as opened:
        opened.hand.set("2026-03-29T06:00:00+00:00")
        await opened.look()          # what the scheduler does when it wakes; returns when its runs are over
        assert opened.states() == [("2026-03-29T04:00:00.000Z", "ok")]

The clock stands until it is moved; sleeping moves it. No model is asked: the router refuses.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from app.agents.base import Agent, AgentContext, AgentResult, OutsideResponse, Severity
from app.agents.cron import check_schedules
from app.agents.performing import Tools
from app.agents.registry import Registry
from app.agents.service import AgentService
from app.config.loader import Config, load
from app.config.schema import Profile
from app.errors import EgressBlocked, NoRule
from app.llm.calls import ModelRequest
from app.llm.clock import Clock
from app.llm.events import Event
from app.llm.router import Completion
from app.memory.embedder import Embedder
from app.memory.graph import EntityGraph
from app.memory.index import WorkspaceIndex
from app.memory.workspace import WorkspaceMemory
from app.store.database import Database
from tests.fakes.sidecar import write_config

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class ClosedHttp:
    """Reaches nothing."""

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> OutsideResponse:
        raise EgressBlocked("this test has no client for the world outside")


class HandClock:
    """Stands until somebody moves it. Sleeping moves it on, in no time."""

    def __init__(self, now: datetime = START) -> None:
        self.at = now
        self.slept: list[float] = []
        self.clock = Clock(
            now=lambda: self.at, monotonic=lambda: self.at.timestamp(), sleep=self.sleep, chance=lambda: 0.5
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def set(self, moment: datetime | str) -> None:
        self.at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment

    def forward(self, **amount: float) -> None:
        self.at += timedelta(**amount)


class ScriptedAgent(Agent):
    """Runs what it is given, in order; then nothing. Remembers when each run was due."""

    name = "scripted"
    description = "Plays a script."
    input_schema: Mapping[str, Any] = {"type": "object", "properties": {"topic": {"type": "string"}}}  # type: ignore[misc]

    def __init__(
        self,
        *steps: Callable[[AgentContext], Awaitable[Any]],
        name: str = "scripted",
        safe: bool = False,
        reads_private: bool = True,
    ) -> None:
        self.reads_private = reads_private  # type: ignore[misc]
        self.name = name  # type: ignore[misc]
        self.rerun_is_safe = safe  # type: ignore[misc]
        self.steps = list(steps)
        self.ran: list[datetime | None] = []
        self.contexts: list[AgentContext] = []

    async def run(self, context: AgentContext) -> AgentResult:
        self.ran.append(context.scheduled_at)
        self.contexts.append(context)
        if not self.steps:
            return AgentResult("nothing to do")
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        found = await step(context)
        return found if isinstance(found, AgentResult) else AgentResult("done")


class RefusingRouter:
    """Answers nothing."""

    async def complete(self, request: ModelRequest) -> Completion:
        raise NoRule("no rule matches")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Event], None]:
        for refused in (NoRule("no rule matches"),):
            raise refused
        yield []


@dataclass
class NotedNotifications:
    """Keeps what was told."""

    told: list[tuple[str, str, Severity]] = field(default_factory=list)
    private: list[bool] = field(default_factory=list)
    """Whether what was told is private, one by one."""
    private_now: Callable[[], bool] = lambda: False

    async def notify(
        self,
        title: str,
        body: str = "",
        *,
        severity: Severity = "info",
        links: Sequence[Mapping[str, str]] = (),
        dedupe_key: str | None = None,
    ) -> str | None:
        self.told.append((title, body, severity))
        self.private.append(self.private_now())
        return str(len(self.told))


@dataclass
class OpenedService:
    service: AgentService
    clock: Clock
    hand: HandClock
    database: Database
    notifications: NotedNotifications
    folder: Path
    config: Config

    async def look(self) -> None:
        """Look once, and wait for the runs that began."""
        await self.service.look(self.hand.at)
        await self.settle()

    async def settle(self) -> None:
        while live := self.service.runs.all_live():
            await asyncio.gather(*(one.over.wait() for one in live))
        await asyncio.sleep(0)

    async def drive(self, until: datetime, step: timedelta = timedelta(seconds=30)) -> None:
        """As the scheduler does: look at what is due, when it is due, and at least every `step`."""
        while self.hand.at < until:
            due = self.service.schedule.next_due()
            self.hand.at = min(x for x in (due, self.hand.at + step, until) if x is not None)
            await self.look()

    def rows(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self.database.path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute(
                "SELECT * FROM agent_runs ORDER BY coalesce(scheduled_at, created_at), created_at"
            )
            return [dict(row) for row in found]

    def states(self) -> list[tuple[str | None, str]]:
        """(due time, state) of every run, in the order they were due."""
        return [(row["scheduled_at"], row["state"]) for row in self.rows()]

    def make_private(self, workspace: str, private: bool = True) -> None:
        """As if somebody had saved profiles.yaml."""
        profiles = [
            profile.model_copy(update={"block_cloud_apis": private}) if profile.id == workspace else profile
            for profile in self.config.profiles.profiles
        ]
        self.config = replace(self.config, profiles=self.config.profiles.model_copy(update={"profiles": profiles}))

    def reconfigure(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.config = write_agents(self.folder, entries)


def write_agents(folder: Path, entries: Sequence[Mapping[str, Any]], **top: Any) -> Config:
    write_config(
        folder / "config",
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    )
    agents = yaml.safe_dump({"agents": [dict(entry) for entry in entries], **top})
    (folder / "config" / "agents.yaml").write_text(agents, "utf-8")
    return load(folder / "config", [check_schedules])


@asynccontextmanager
async def open_agent_service(
    folder: Path,
    agents: Sequence[Agent],
    entries: Sequence[Mapping[str, Any]],
    hand: HandClock | None = None,
    *,
    clock: Clock | None = None,
    **top: Any,
) -> AsyncIterator[OpenedService]:
    """`hand` None: the system's clock. The database is kept in the folder, so that opening it again is a restart."""
    config = write_agents(folder, entries, **top)
    moved = hand or HandClock()
    used = clock or (moved.clock if hand else Clock())
    database = await Database.open(folder / "data" / "sidecar.db", now=used.now())
    embedder = Embedder(folder / "no-model")
    index = WorkspaceIndex(folder / "data" / "index", embedder)
    notifications = NotedNotifications()
    opened: OpenedService

    def in_force() -> Config:
        return opened.config

    def noted(agent: str, profile: Profile, run_id: str, private: Callable[[], bool]) -> NotedNotifications:
        notifications.private_now = private
        return notifications

    memory = WorkspaceMemory(index, embedder, in_force)
    tools = Tools(
        database=database,
        memory=memory,
        entities=EntityGraph(database, memory.profile, used.now),
        router=RefusingRouter(),
        clock=used,
        redact=lambda text: text,
        http=lambda workspace, hosts, private: ClosedHttp(),
        private_now=lambda workspace: opened.config.is_private(workspace),
        notifications=noted,
    )
    service = AgentService(tools, Registry(agents, in_force), in_force)
    opened = OpenedService(service, used, moved, database, notifications, folder, config)
    try:
        await service.open()
        yield opened
    finally:
        await service.aclose()
        await index.aclose()
        await embedder.aclose()
        await database.close()
