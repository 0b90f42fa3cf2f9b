"""The composition root: the only file that names concrete classes and joins them.

What answers `/health` is opened before the port is; what takes seconds (litellm's import, the tokenizer) is loaded by a
thread behind it, and a request that needs it waits. Everything opened here is closed in reverse order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from app.agents.cron import check_schedules
from app.agents.registry import check_agents
from app.chat.capture import SessionCapture
from app.chat.learning import Learning, session_origin
from app.chat.past import PastSessions
from app.chat.service import ChatService
from app.chat.sessions import Sessions
from app.chat.summaries import RollingSummaries
from app.config.loader import Config
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
from app.llm.discovery import Discovery, hosts_file_addresses
from app.llm.egress import EgressPolicy, install_audit_hook
from app.llm.embedded import EmbeddedModels
from app.llm.fitting import Fitter
from app.llm.outside import Outside
from app.llm.router import ModelRouter
from app.llm.translate import Translator
from app.llm.transport import Transport
from app.memory.code_entities import CodeEntities
from app.memory.embedder import Embedder
from app.memory.extraction import EntityExtraction
from app.memory.graph import EntityGraph
from app.memory.index import WorkspaceIndex
from app.memory.indexer import FolderIndexer
from app.memory.jobs import IndexJobs
from app.memory.manifest import Manifest
from app.memory.model_files import default_folder
from app.memory.recognising import SpacyRecogniser
from app.memory.retrieval import Retrieval
from app.memory.workspace import WorkspaceMemory
from app.routing.conditions import check_conditions
from app.services.agents import OWN, open_agents
from app.services.background import start_background
from app.services.happenings import Happenings
from app.services.inbox import open_inbox
from app.services.parts import Services
from app.services.policies import PolicyHolder
from app.settings import Settings
from app.store.database import Database
from app.store.keys import ClientKeys
from app.usage.budgets import Budgets
from app.usage.ledger import LedgerLimits, UsageLedger
from app.usage.reports import UsageReports
from app.usage.service import UsageService


@asynccontextmanager
async def open_services(
    settings: Settings,
    *,
    token: str,
    clock: Clock = SYSTEM_CLOCK,
    freeze: bool = False,
    redactor: Redactor | None = None,
    ledger_limits: LedgerLimits | None = None,
) -> AsyncIterator[Services]:
    """Open everything, in the order of the house from the bottom; close it again at the end.

    `freeze`: once all is loaded, take it out of the garbage collector's sight (a full collection then takes 1 ms and
    not 100), and let it run. `redactor`: the log's; it learns every key that is found. `ledger_limits` None: the
    ledger's own. Raises `ConfigError` and `StartupError`.
    """
    async with AsyncExitStack() as stack:
        services = await _open(settings, token, clock, stack, redactor or Redactor(), ledger_limits)
        install_audit_hook()
        await start_background(services, stack, freeze)
        yield services


async def _open(
    settings: Settings,
    token: str,
    clock: Clock,
    stack: AsyncExitStack,
    redactor: Redactor,
    ledger_limits: LedgerLimits | None,
) -> Services:
    folder = ensure_user_config(settings.config_dir, settings.user_config_dir)
    config = ConfigStore(folder, [check_conditions, check_schedules, check_agents(OWN)])
    policies = PolicyHolder(config.current)
    config.subscribe(policies.configured)

    def in_force() -> Config:
        """The configuration the policy was made from: never newer than the rules that decide."""
        return policies.current.config

    secrets = Secrets(redactor=redactor)
    secrets.redactor.add(token)

    database = await Database.open(settings.database_path, now=clock.now())
    stack.push_async_callback(database.close)
    ledger = await UsageLedger.open(database, now=clock.now(), limits=ledger_limits)
    stack.push_async_callback(ledger.close)

    models = await _open_models(settings, config, policies, secrets, database, ledger, clock, stack)
    router, counter, budgets = models.router, models.counter, models.budgets
    outside = Outside()
    stack.callback(outside.close)
    known = _open_knowledge(settings, database, in_force, router, clock, secrets, stack)
    embedder, memory, entities = known.embedder, known.memory, known.entities
    sessions = Sessions(database, in_force, clock.now, embedder)
    stack.push_async_callback(sessions.aclose)
    sessions.on_delete.append(lambda workspace, session_id: entities.forget(workspace, [session_origin(session_id)]))
    summaries = RollingSummaries(sessions, router, counter, in_force, clock.now)
    stack.push_async_callback(summaries.aclose)
    past = PastSessions(database, embedder)
    retrieval = Retrieval(memory, lambda: in_force().routing.retrieval, entities, past)
    chat = ChatService(router, in_force, sessions, summaries, clock.now, lambda: policies.smallest_window, retrieval)
    stack.push_async_callback(chat.aclose)
    happenings = Happenings()
    inbox = open_inbox(database, in_force, clock, outside, secrets, happenings.publish)
    stack.push_async_callback(inbox.aclose)
    budgets.tell(inbox)
    usage = UsageService(database, lambda: (in_force(), policies.current.catalog), clock.now)
    agents = await open_agents(
        inbox=inbox,
        outside=outside,
        database=database,
        budgets=budgets,
        usage=usage,
        embedder=embedder,
        memory=memory,
        learning=known.learning,
        entities=entities,
        router=router,
        sessions=sessions,
        config=in_force,
        clock=clock,
        redact=secrets.redact,
        secret=secrets.aget,
    )
    return Services(
        settings=settings,
        clock=clock,
        config=config,
        secrets=secrets,
        database=database,
        keys=await ClientKeys.open(database, clock.now),
        ledger=ledger,
        budgets=budgets,
        inbox=inbox,
        happenings=happenings,
        reports=UsageReports(database),
        usage=usage,
        translator=models.translator,
        counter=counter,
        discovery=Discovery(models.transport, clock.monotonic, secrets.aget),
        router=router,
        embedder=embedder,
        memory=memory,
        entities=entities,
        extraction=known.extraction,
        learning=known.learning,
        indexing=known.indexing,
        sessions=sessions,
        capture=SessionCapture(sessions, router, in_force, clock.now),
        summaries=summaries,
        chat=chat,
        policies=policies,
        agents=agents,
        token=token,
        started_at=clock.now(),
    )


@dataclass(frozen=True, slots=True)
class _Models:
    """What asks models, and what that takes."""

    transport: Transport
    translator: Translator
    counter: TokenCounter
    budgets: Budgets
    router: ModelRouter


async def _open_models(
    settings: Settings,
    config: ConfigStore,
    policies: PolicyHolder,
    secrets: Secrets,
    database: Database,
    ledger: UsageLedger,
    clock: Clock,
    stack: AsyncExitStack,
) -> _Models:
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
    budgets = await Budgets.open(database, lambda: policies.current.config, clock.now)
    desk = Desk(client, ledger, counter, calibrator, clock, budgets)
    router = ModelRouter(lambda: policies.current, Fitter(builder, calibrator), desk, BreakerBoard(clock.monotonic))
    return _Models(transport, translator, counter, budgets, router)


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What workspaces know: their index and their entities, and what reads them in."""

    embedder: Embedder
    memory: WorkspaceMemory
    entities: EntityGraph
    extraction: EntityExtraction
    indexing: IndexJobs
    learning: Learning


def _open_knowledge(
    settings: Settings,
    database: Database,
    in_force: Callable[[], Config],
    router: ModelRouter,
    clock: Clock,
    secrets: Secrets,
    stack: AsyncExitStack,
) -> _Knowledge:
    embedder = Embedder(default_folder())
    stack.push_async_callback(embedder.aclose)
    index = WorkspaceIndex(settings.data_dir / "index", embedder)
    stack.push_async_callback(index.aclose)
    memory = WorkspaceMemory(index, embedder, in_force)
    entities = EntityGraph(database, memory.profile, clock.now, embedder)
    stack.push_async_callback(entities.aclose)
    extraction = EntityExtraction(
        entities, router, SpacyRecogniser(), lambda workspace: memory.profile(workspace).id, secrets.redact
    )
    manifest = Manifest(database)
    code = CodeEntities(entities, memory.was_private)
    indexer = FolderIndexer(memory, manifest, observer=code, clock=clock.monotonic, own=settings.data_dir)
    indexing = IndexJobs(memory, manifest, indexer, clock.now)
    stack.push_async_callback(indexing.aclose)
    learning = Learning(extraction, database, manifest, memory.was_private)
    return _Knowledge(embedder, memory, entities, extraction, indexing, learning)
