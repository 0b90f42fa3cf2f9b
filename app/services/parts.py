"""Services: everything a request may need, as one record."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.agents.notifications import Inbox
from app.agents.service import AgentService
from app.chat.capture import SessionCapture
from app.chat.learning import Learning
from app.chat.service import ChatService
from app.chat.sessions import Sessions
from app.chat.summaries import RollingSummaries
from app.config.secrets import Secrets
from app.config.watcher import ConfigStore
from app.context.tokens import TokenCounter
from app.llm.clock import Clock
from app.llm.discovery import Discovery, local_endpoints
from app.llm.router import ModelRouter
from app.llm.translate import Translator
from app.memory.embedder import Embedder
from app.memory.extraction import EntityExtraction
from app.memory.graph import EntityGraph
from app.memory.jobs import IndexJobs
from app.memory.workspace import WorkspaceMemory
from app.routing.catalog import ModelCatalog
from app.services.gauges import Gauge, gauges
from app.services.happenings import Happenings
from app.services.health import health
from app.services.policies import PolicyHolder
from app.settings import Settings
from app.store.database import Database
from app.store.keys import ClientKeys
from app.usage.budgets import Budgets
from app.usage.ledger import UsageLedger
from app.usage.metrics import UsageMetrics
from app.usage.reports import UsageReports
from app.usage.service import UsageService


@dataclass(slots=True)
class Services:
    """Everything a request may need. Made by `open_services`."""

    settings: Settings
    clock: Clock
    config: ConfigStore
    secrets: Secrets
    database: Database
    keys: ClientKeys
    ledger: UsageLedger
    budgets: Budgets
    inbox: Inbox
    reports: UsageReports
    usage: UsageService
    translator: Translator
    counter: TokenCounter
    discovery: Discovery
    router: ModelRouter
    embedder: Embedder
    memory: WorkspaceMemory
    entities: EntityGraph
    extraction: EntityExtraction
    learning: Learning
    indexing: IndexJobs
    sessions: Sessions
    capture: SessionCapture
    summaries: RollingSummaries
    chat: ChatService
    policies: PolicyHolder
    agents: AgentService
    token: str
    started_at: datetime
    happenings: Happenings = field(default_factory=Happenings)
    metrics: UsageMetrics = field(default_factory=UsageMetrics)
    instance_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)
    warm: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def catalog(self) -> ModelCatalog:
        return self.policies.current.catalog

    async def ready(self) -> None:
        """Returns when the slow parts are loaded and the model servers of this machine were asked once."""
        await self.warm.wait()

    async def refresh_models(self, *, force: bool = False) -> None:
        """Ask the local model servers what they have, where the last answer is old; the catalog follows."""
        endpoints = local_endpoints(self.catalog.all())
        if force or self.discovery.stale(endpoints):
            self.policies.discovered(await self.discovery.refresh(endpoints, force=force))

    async def gauges(self) -> list[Gauge]:
        """What each part stands at, for `/metrics`."""
        return list(gauges(self, (await self.health())["parts"]))

    async def health(self) -> dict[str, Any]:
        """Each part as ok, degraded or down, with the reason and the remedy."""
        return await health(self)
