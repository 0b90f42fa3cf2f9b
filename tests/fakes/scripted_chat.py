"""A chat that plays a script, behind the real application, door and server: for what the HTTP layer does by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp

from app.api.application import create_app
from app.api.sse import Patience
from app.chat.service import ChatRequest
from app.context.blocks import BlockOutcome, ContextWindow, Outcome
from app.errors import SidecarError
from app.llm.calls import TextDelta
from app.llm.clock import SYSTEM_CLOCK, Clock
from app.llm.events import AttemptReport, ContextBuilt, Done, Event, Explanation, RouteChosen
from app.main import SidecarServer, server_config
from app.routing.locality import Location
from app.routing.route import Candidate, Origin, Route
from app.routing.spec import Endpoint, ModelSpec, Source, Sourced
from app.services.gauges import Gauge
from app.services.happenings import Happenings
from app.settings import Settings
from app.usage.metrics import UsageMetrics

TOKEN = "test-token-0123456789abcdef0123456789abcdef"

Step: TypeAlias = list[Event] | SidecarError | Exception | Callable[[], Awaitable[object]]
"""A batch to yield, an exception to raise, or something to wait for."""

MODEL = ModelSpec(
    id="ollama/llama3:8b",
    provider="ollama",
    wire="ollama_chat",
    name="llama3:8b",
    endpoint=Endpoint("http://127.0.0.1:11434", Location.LOOPBACK, "127.0.0.1 is this machine"),
    context_window=Sourced(8192, Source.CONFIG),
    max_output_tokens=Sourced(None, Source.DEFAULT),
    price=Sourced(None, Source.DEFAULT),
    tokenizer="llama3",
)
ROUTE = Route(
    "default", (Candidate(MODEL, Origin.RULE),), (), None, (), (), ("rule default matches",), local_only=False
)
WINDOW = ContextWindow(
    model=MODEL.id,
    window=8192,
    input_tokens=12,
    reserved_output=1024,
    messages=({"role": "user", "content": "hello"},),
    blocks=(BlockOutcome("query", "query", 1, 12, Outcome.KEPT, "the query"),),
)


def opening(request_id: str = "r") -> list[Event]:
    """What every stream begins with."""
    return [RouteChosen(request_id, ROUTE), ContextBuilt(WINDOW)]


def ending(**changes: Any) -> Done:
    values: dict[str, Any] = {
        "request_id": "r",
        "model": MODEL.id,
        "location": "loopback",
        "finish_reason": "stop",
        "input_tokens": 12,
        "output_tokens": 2,
        "cost_usd": None,
        "cost_source": "unknown",
        "latency_ms": 40,
        "time_to_first_token_ms": 20,
        "attempt_count": 1,
        "warnings": (),
        "ledger": "stored",
        "attempts": (AttemptReport(MODEL.id, 1, "ok", None, None, 40),),
    }
    return Done(**{**values, **changes})


def texts(*parts: str) -> list[Event]:
    return [TextDelta(part) for part in parts]


class ScriptedChat:
    """Plays `steps` for every request; records the requests and how their streams were left."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.requests: list[ChatRequest] = []
        self.pulled = 0
        self.closed = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[list[Event], None]:
        self.requests.append(request)
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if callable(step):
                    await step()
                    continue
                self.pulled += 1
                yield step
        finally:
            self.closed.set()

    async def explain(self, request: ChatRequest) -> Explanation:
        self.requests.append(request)
        return Explanation(request.request_id, ROUTE, {"task_type": request.task_type}, (), {"used": 0.0})


async def forever() -> None:
    await asyncio.Event().wait()


class EmptyLedger:
    async def knows(self, request_id: str) -> bool:
        return False


@dataclass
class ScriptedServices:
    """The parts the chat routes use; asking for any other fails the test."""

    chat: ScriptedChat
    settings: Settings
    token: str = TOKEN
    instance_id: str = "instance"
    clock: Clock = SYSTEM_CLOCK
    started_at: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    shutting_down: asyncio.Event = field(default_factory=asyncio.Event)
    happenings: Happenings = field(default_factory=Happenings)
    metrics: UsageMetrics = field(default_factory=UsageMetrics)

    @property
    def config(self) -> NoReturn:
        raise AssertionError("not scripted")

    embedder = counter = config
    keys = catalog = reports = sessions = capture = memory = indexing = entities = extraction = agents = config
    budgets = inbox = config

    @property
    def usage(self) -> Any:
        return EmptyLedger()

    async def gauges(self) -> list[Gauge]:
        return []

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", "parts": {"chat": {"status": "ok"}}}

    async def refresh_models(self, *, force: bool = False) -> None:
        return


@dataclass
class Scripted:
    chat: ScriptedChat
    services: ScriptedServices
    app: FastAPI
    port: int
    http: httpx.AsyncClient


@asynccontextmanager
async def serving(
    app: ASGIApp, head_seconds: float = 10.0, lifespan: Literal["on", "off"] = "on"
) -> AsyncIterator[int]:
    """The application under its real server on a free port, which is the result."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = SidecarServer(server_config(app, head_seconds, lifespan))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110  (uvicorn offers no event to wait for)
            await asyncio.sleep(0.005)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def scripted(
    tmp_path: Path,
    *steps: Step,
    patience: Patience | None = None,
    head_seconds: float = 10.0,
    **settings: Any,
) -> AsyncIterator[Scripted]:
    """A sidecar whose chat plays `steps`."""
    chat = ScriptedChat(*steps)
    services = ScriptedServices(chat, Settings(data_dir=tmp_path, **settings))
    app = create_app(services, patience)
    async with serving(app, head_seconds) as port:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10, trust_env=False
        ) as http:
            yield Scripted(chat, services, app, port, http)


async def raw(port: int, *sent: bytes, limit: float = 5.0) -> tuple[int, bytes]:
    """Send bytes as they are; the status and the body of the answer (0 where the connection closed without one)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in sent:
            writer.write(part)
        await writer.drain()
        async with asyncio.timeout(limit):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(v) for n, v in header_lines(head) if n == b"content-length"), 0)
            return int(head.split()[1]), head + await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return 0, b""
    finally:
        writer.close()


def header_lines(head: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return [(name.strip().lower(), value.strip()) for name, value in pairs]
