"""The agents' part of the composition root: which agents there are of our own, and what each is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from app.agents.base import Agent, AgentContext
from app.agents.build_sources import Secret
from app.agents.digest import DigestAgent
from app.agents.entity_extraction import EntityExtractionAgent
from app.agents.maintenance import Chore, Maintenance
from app.agents.notifications import AgentNotifications, Inbox
from app.agents.performing import Tools
from app.agents.pipeline import PipelineAgent
from app.agents.prompt import PromptAgent
from app.agents.registry import Registry
from app.agents.research import Research
from app.agents.scheduler import AgentScheduler
from app.agents.service import AgentService
from app.agents.session_capture import SessionCaptureAgent
from app.chat.learning import Learning
from app.chat.sessions import Sessions
from app.config.loader import Config
from app.config.watcher import ConfigStore
from app.llm.clock import Clock
from app.llm.connections import LOCALHOST
from app.llm.egress import normal_host
from app.llm.outside import Outside, OutsideClient, Reach
from app.llm.router import ModelRouter
from app.memory.embedder import Embedder
from app.memory.graph import EntityGraph
from app.memory.workspace import WorkspaceMemory
from app.store.database import Database
from app.usage.budget_states import BudgetState, state_of
from app.usage.budgets import Budgets
from app.usage.reconcile import verify
from app.usage.service import UsageService

HOUSEKEEPING: Final = frozenset({"session_capture", "maintenance", "entity_extraction", "pipeline"})
"""Agents whose next run is no news in a digest."""
KEEP_ARCHIVED: Final = timedelta(days=90)
"""How long a notification that was put away is kept."""
OWN: Final[dict[str, type[Agent]]] = {
    kind.name: kind
    for kind in (
        SessionCaptureAgent,
        Maintenance,
        EntityExtractionAgent,
        PromptAgent,
        DigestAgent,
        Research,
        PipelineAgent,
    )
}
"""By the name agents.yaml calls them."""


async def open_agents(
    *,
    inbox: Inbox,
    outside: Outside,
    database: Database,
    budgets: Budgets,
    usage: UsageService,
    embedder: Embedder,
    memory: WorkspaceMemory,
    learning: Learning,
    entities: EntityGraph,
    router: ModelRouter,
    sessions: Sessions,
    config: Callable[[], Config],
    clock: Clock,
    redact: Callable[[str], str],
    secret: Secret,
) -> AgentService:
    """The service with our own agents; nothing runs before `start_agents`."""
    own: list[Agent] = [
        SessionCaptureAgent(sessions, config),
        Maintenance(database, chores_of(database, memory, usage, inbox)),
        PromptAgent(),
        DigestAgent(lambda workspace: _budgets_of(budgets, workspace), lambda workspace: _upcoming(service, workspace)),
        PipelineAgent(secret),
        Research(embedder, clock.sleep),
        EntityExtractionAgent(learning),
    ]
    tools = Tools(
        database=database,
        memory=memory,
        entities=entities,
        router=router,
        clock=clock,
        redact=redact,
        http=lambda workspace, hosts, private: OutsideClient(
            outside, lambda: reach_of(config(), workspace, hosts, private())
        ),
        private_now=lambda workspace: config().is_private(workspace),
        notifications=partial(AgentNotifications, inbox),
    )
    service = AgentService(tools, Registry(own, config), config)
    return service


def _budgets_of(budgets: Budgets, workspace: str) -> Sequence[BudgetState]:
    """Those that cover the whole workspace, its own and everybody's."""
    now = budgets.now()
    limits = (meter for meter in budgets.meters() if meter.limit.workspace in (None, workspace))
    return [state_of(meter, now) for meter in limits if meter.limit.agent is None and meter.limit.task_type is None]


async def _upcoming(service: AgentService, workspace: str) -> Sequence[tuple[str, datetime]]:
    """The workspace's agents by when they are due next, but for those that only keep things in order."""
    views = [view for view in await service.views() if view.upcoming and view.workspace == workspace]
    views = [view for view in views if view.registered.kind not in HOUSEKEEPING]
    found = [(view.upcoming[0], view.registered.entry.name) for view in views]
    return [(name, due) for due, name in sorted(found)]


def chores_of(database: Database, memory: WorkspaceMemory, usage: UsageService, inbox: Inbox) -> Sequence[Chore]:
    """What maintenance does beside the back-up: one chore for each part that wants looking after."""

    async def rollups(_: AgentContext) -> str:
        found = await verify(database, repair=True)
        if not found.different:
            return f"{found.buckets} sums over {found.rows} rows are right"
        return f"{found.different} of {found.buckets} sums differed from their rows; {found.repaired} put right"

    async def rows(_: AgentContext) -> str:
        dropped = await usage.drop_old_rows()
        return f"{dropped} rows were older than usage.keep_rows_days" if dropped else "none is too old"

    async def notifications(context: AgentContext) -> str:
        return f"{await inbox.tidy(context.now() - KEEP_ARCHIVED)} archived ones removed"

    async def index(_: AgentContext) -> str:
        await memory.index.maintain()
        return memory.index.problem or "compacted"

    return (
        Chore("usage roll-ups", rollups),
        Chore("usage rows", rows),  # after their sums were checked
        Chore("notifications", notifications),
        Chore("index", index),
    )


def reach_of(config: Config, workspace: str, hosts: Sequence[str], private: bool) -> Reach:
    """Where an agent may go at this moment: this machine and the trusted hosts, and where the workspace is open, and
    the run not `private`, the hosts of its entry."""
    near = frozenset({*LOCALHOST, "localhost", *map(normal_host, config.models.trusted_hosts)})
    if config.is_private(workspace):
        because = (
            f"the workspace {workspace} is private (block_cloud_apis): only this machine and trusted hosts are asked"
        )
        return Reach(public=False, local=near, because=because)
    if private:
        because = (
            "this run has read what was written in private: from then on it asks this machine and trusted hosts alone"
        )
        return Reach(public=False, local=near, because=because)
    return Reach(hosts=tuple(hosts), local=near)


async def start_agents(service: AgentService, store: ConfigStore, clock: Clock, stack: AsyncExitStack) -> None:
    """Take up the schedule where the last stop left it, and follow agents.yaml from here on."""
    loop = asyncio.get_running_loop()
    stack.push_async_callback(service.aclose)
    scheduler = AgentScheduler(service, clock.now)
    stack.push_async_callback(scheduler.aclose)
    await service.open()
    scheduler.start()

    def follow(_: Config) -> None:
        loop.call_soon_threadsafe(service.reconfigure)

    store.subscribe(follow)
