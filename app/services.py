"""The composition root: the only file that names concrete classes and joins them.

What answers `/health` is opened before the port is; what takes seconds (litellm's import, the tokenizer) is loaded by a
thread behind it, and a request that needs it waits. Everything opened here is closed in reverse order.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.chat.capture import SessionCapture
from app.chat.service import ChatService
from app.chat.sessions import Sessions
from app.chat.summaries import RollingSummaries
from app.config.loader import Config
from app.config.pricemap import known_providers, load_price_map
from app.config.redact import Redactor
from app.config.secrets import Secrets
from app.config.stock import ensure_user_config
from app.config.watcher import ConfigStore
from app.context.builder import ContextBuilder
from app.context.tokens import TokenCounter
from app.llm.attempt import Desk
from app.llm.breaker import BreakerBoard
from app.llm.calibrating import Calibrator
from app.llm.client import LLMClient
from app.llm.clock import SYSTEM_CLOCK, Clock
from app.llm.discovery import Discovery, ServerReport, discovered, hosts_file_addresses, local_endpoints
from app.llm.egress import EgressPolicy, install_audit_hook
from app.llm.embedded import EmbeddedModels
from app.llm.fitting import Fitter
from app.llm.plan import Policy
from app.llm.router import ModelRouter
from app.llm.translate import Translator
from app.llm.transport import Transport
from app.memory.embedder import Embedder
from app.memory.index import WorkspaceIndex
from app.memory.model_files import default_folder
from app.memory.retrieval import Retrieval
from app.memory.workspace import WorkspaceMemory
from app.routing.catalog import DEFAULT_WINDOW, ModelCatalog, build_catalog
from app.routing.conditions import check_conditions
from app.routing.rules import RuleSet
from app.routing.spec import Discovered
from app.settings import Settings
from app.store.database import Database
from app.usage.ledger import UsageLedger
from app.usage.reports import UsageReports

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Services:
    """Everything a request may need. Made by `open_services`."""

    settings: Settings
    clock: Clock
    config: ConfigStore
    secrets: Secrets
    database: Database
    ledger: UsageLedger
    reports: UsageReports
    translator: Translator
    counter: TokenCounter
    discovery: Discovery
    router: ModelRouter
    embedder: Embedder
    memory: WorkspaceMemory
    sessions: Sessions
    capture: SessionCapture
    summaries: RollingSummaries
    chat: ChatService
    policies: PolicyHolder
    token: str
    started_at: datetime
    instance_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)
    _warm: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def catalog(self) -> ModelCatalog:
        return self.policies.current.catalog

    async def ready(self) -> None:
        """Returns when the slow parts are loaded and the model servers of this machine were asked once."""
        await self._warm.wait()

    async def refresh_models(self, *, force: bool = False) -> None:
        """Ask the local model servers what they have, where the last answer is old; the catalog follows."""
        endpoints = local_endpoints(self.catalog.all())
        if force or self.discovery.stale(endpoints):
            self.policies.discovered(await self.discovery.refresh(endpoints, force=force))

    async def health(self) -> dict[str, Any]:
        """Each part as ok, degraded or down, with the reason and the remedy."""
        parts = {
            "config": self._config_health(),
            "ledger": self._ledger_health(),
            "litellm": self._litellm_health(),
            "models": self._models_health(),
            "embedding": self._embedding_health(),
            "index": self.memory.health(),
        }
        worst = max((part["status"] for part in parts.values()), key=["ok", "starting", "degraded", "down"].index)
        return {"status": worst, "parts": parts}

    def _config_health(self) -> dict[str, Any]:
        status = self.config.status
        found: dict[str, Any] = {
            "status": "ok",
            "folder": str(self.config.path.resolve()),
            "fingerprint": status.fingerprint,
            "loaded_at": status.loaded_at.isoformat(),
            "warnings": list(status.warnings),
        }
        if status.last_error:
            problems = [str(problem) for problem in status.last_error]
            found |= {
                "status": "degraded",
                "reason": "the files as they are now cannot be used; the last good configuration is in force",
                "problems": problems,
                "remedy": "llm-sidecar config check",
            }
        return found

    def _ledger_health(self) -> dict[str, Any]:
        ledger, database = self.ledger.health(), self.database.health()
        found: dict[str, Any] = {
            "status": "ok",
            "waiting": ledger.waiting,
            "lost": ledger.lost,
            "interrupted": ledger.interrupted,
            "notices": list(database.notices),
        }
        if not database.ok:
            found |= {
                "status": "degraded",
                "reason": "SQLite found damage in the database",
                "remedy": "restart the sidecar: it checks the file, and sets it aside if it is damaged",
            }
        elif not ledger.ok:
            found |= {
                "status": "degraded",
                "reason": ledger.last_error or "the database cannot be written",
                "remedy": f"make room on the disk of {self.settings.data_dir}, or end what locks its sidecar.db",
            }
        return found

    def _litellm_health(self) -> dict[str, Any]:
        if self.translator.problem is not None:
            return {"status": "down", "reason": self.translator.problem, "remedy": "reinstall llm-sidecar"}
        return {"status": "ok" if self.translator.ready else "starting"}

    def _embedding_health(self) -> dict[str, Any]:
        problem = self.embedder.problem
        if problem is None:
            return {"status": "ok", "search": "meaning and words"}
        # Searching by words alone is less, and no defect of the sidecar.
        remedy = "llm-sidecar models fetch"
        return {"status": "ok", "search": "words", "reason": problem, "remedy": remedy}

    def _models_health(self) -> dict[str, Any]:
        servers = {
            report.api_base: {"status": "ok", "models": len(report.models)}
            if report.reachable
            else {"status": "down", "reason": report.problem, "remedy": "start it, or change models.yaml"}
            for report in self.discovery.reports
        }
        # The built-in model always answers: a server that is away is no defect of the sidecar.
        return {"status": "ok", "servers": servers, "resting": self.router.breakers.states()}


class PolicyHolder:
    """The current `Policy`, made anew whenever the configuration or what the model servers say has changed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._discovered = Discovered()
        self.current = self._build()

    def configured(self, config: Config) -> None:
        self._config = config
        self.current = self._build()

    def discovered(self, reports: tuple[ServerReport, ...]) -> None:
        found = discovered(reports)
        if found != self._discovered:
            self._discovered = found
            self.current = self._build()

    @property
    def smallest_window(self) -> int:
        """In tokens, of the configured models."""
        return min((model.context_window.value for model in self.current.catalog.all()), default=DEFAULT_WINDOW)

    def _build(self) -> Policy:
        catalog = self._catalog({})
        if names := hosts_file_addresses(catalog.hosts()):
            catalog = self._catalog(dict(names))
        return Policy(self._config, RuleSet(self._config.routing.rules), catalog)

    def _catalog(self, addresses: dict[str, tuple[str, ...]]) -> ModelCatalog:
        return build_catalog(
            self._config.models,
            load_price_map(),
            os.environ,
            self._discovered,
            addresses,
            providers=known_providers(),
        )


@asynccontextmanager
async def open_services(
    settings: Settings,
    *,
    token: str,
    clock: Clock = SYSTEM_CLOCK,
    freeze: bool = False,
    redactor: Redactor | None = None,
) -> AsyncIterator[Services]:
    """Open everything, in the order of the house from the bottom; close it again at the end.

    `freeze`: once all is loaded, take it out of the garbage collector's sight (a full collection then takes 1 ms and
    not 100). `redactor`: the log's; it learns every key that is found. Raises `ConfigError` and `StartupError`.
    """
    async with AsyncExitStack() as stack:
        services = await _open(settings, token, clock, stack, redactor or Redactor())
        install_audit_hook()
        await _background(services, stack, freeze)
        yield services


async def _open(settings: Settings, token: str, clock: Clock, stack: AsyncExitStack, redactor: Redactor) -> Services:
    folder = ensure_user_config(settings.config_dir, settings.user_config_dir)
    config = ConfigStore(folder, [check_conditions])
    policies = PolicyHolder(config.current)
    config.subscribe(policies.configured)

    def in_force() -> Config:
        """The configuration the policy was made from: never newer than the rules that decide."""
        return policies.current.config

    secrets = Secrets(redactor=redactor)
    secrets.redactor.add(token)

    database = await Database.open(settings.database_path, now=clock.now())
    stack.push_async_callback(database.close)
    ledger = await UsageLedger.open(database, now=clock.now())
    stack.push_async_callback(ledger.close)

    # Closed after the transport: llama.cpp's end waits for its open connections.
    embedded = EmbeddedModels()
    stack.push_async_callback(embedded.aclose)
    transport = await stack.enter_async_context(Transport())

    def trust(current: Config) -> None:
        policy = EgressPolicy.local_only(current.models.trusted_hosts)
        transport.trust(policy, hosts_file_addresses(policies.current.catalog.hosts()))

    trust(config.current)
    config.subscribe(trust)

    counter = TokenCounter()
    stack.callback(counter.close)
    translator = Translator(secrets.redact)
    client = LLMClient(translator, transport, embedded, secrets, lambda text: counter.count(text, "builtin"))
    builder = ContextBuilder(counter)
    calibrator = Calibrator(settings.data_dir / "calibration.json", clock.monotonic)
    stack.callback(calibrator.save)
    desk = Desk(client, ledger, counter, calibrator, clock)
    router = ModelRouter(lambda: policies.current, Fitter(builder, calibrator), desk, BreakerBoard(clock.monotonic))
    embedder = Embedder(default_folder())
    stack.push_async_callback(embedder.aclose)
    index = WorkspaceIndex(settings.data_dir / "index", embedder)
    stack.push_async_callback(index.aclose)
    memory = WorkspaceMemory(index, embedder, in_force)
    sessions = Sessions(database, in_force, clock.now, embedder)
    stack.push_async_callback(sessions.aclose)
    summaries = RollingSummaries(sessions, router, counter, in_force, clock.now)
    stack.push_async_callback(summaries.aclose)
    retrieval = Retrieval(memory, lambda: in_force().routing.retrieval)
    chat = ChatService(router, in_force, sessions, summaries, clock.now, lambda: policies.smallest_window, retrieval)
    stack.push_async_callback(chat.aclose)
    return Services(
        settings=settings,
        clock=clock,
        config=config,
        secrets=secrets,
        database=database,
        ledger=ledger,
        reports=UsageReports(database),
        translator=translator,
        counter=counter,
        discovery=Discovery(transport, clock.monotonic, secrets.aget),
        router=router,
        embedder=embedder,
        memory=memory,
        sessions=sessions,
        capture=SessionCapture(sessions, router, in_force, clock.now),
        summaries=summaries,
        chat=chat,
        policies=policies,
        token=token,
        started_at=clock.now(),
    )


async def _background(services: Services, stack: AsyncExitStack, freeze: bool) -> None:
    """Start what runs beside the requests; it is ended before anything it uses is closed."""
    stop = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    def start(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work ended unexpectedly", exc_info=error)

    async def end() -> None:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(end)
    start(_warm_up(services, freeze))
    start(services.config.watch(stop))
    services.config.subscribe(lambda _: start(services.refresh_models(force=True)))


async def _warm_up(services: Services, freeze: bool) -> None:
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[None] = loop.create_future()

    def load() -> None:
        try:
            services.translator.load()
            services.counter.load()
        except Exception:
            # The translator keeps its own problem for /health; requests that need it say so.
            log.exception("a part of the program could not be loaded")
        with suppress(RuntimeError):  # the loop is closed: the sidecar ended while this was loading
            loop.call_soon_threadsafe(_resolve, loaded)

    # A thread of its own, and a daemon: an import cannot be cancelled, and must not hold up the end of the process.
    threading.Thread(target=load, name="warm-up", daemon=True).start()
    await services.refresh_models()
    await loaded
    if freeze:
        gc.collect()
        gc.freeze()
    services._warm.set()
    log.info("ready: litellm and the tokenizer are loaded")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
