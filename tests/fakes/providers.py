"""FakeProvider: a real HTTP server on loopback that speaks the wires of Ollama, OpenAI, Anthropic and Gemini.

    async with FakeProvider() as provider:
        provider.script(Status(429, {"retry-after": "2"}), Reply(("Hi", "!")))    # first a 429, then an answer
        provider.script(Hang("mid_stream"), model="claude-x")                     # for one model only
        provider.always(CutMidStream(after=3), model="llama3:8b")                 # for every request from now on
        ... api_base: provider.url (Ollama, Anthropic, Gemini) or provider.url + "/v1" (OpenAI style) ...
        assert provider.requests[0].body["options"]["num_ctx"] == 8192
        await provider.client_left(within=1.0)                                    # the client closed in mid-stream

A request takes the next step of its model's script, else of the script for any model, else what `always` says, else
`Reply()`: a fixed short text with usage. One server speaks every wire; the path says which. A request that does not ask
for a stream is refused with 400: the sidecar always streams.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.fakes import text_wires, wires
from tests.fakes.steps import (
    BadKey,
    ContextOverflow,
    CutMidStream,
    EmptyStream,
    ErrorInStream,
    Hang,
    KeyInError,
    MalformedChunk,
    Reply,
    Status,
    Step,
    ToolCall,
    injected_newlines,
    split_utf8,
)

__all__ = [
    "BadKey",
    "ContextOverflow",
    "CutMidStream",
    "EmptyStream",
    "ErrorInStream",
    "FakeProvider",
    "Hang",
    "KeyInError",
    "MalformedChunk",
    "Recorded",
    "Reply",
    "Status",
    "Step",
    "ToolCall",
    "injected_newlines",
    "split_utf8",
]

DEFAULT_MODELS: Mapping[str, int] = {"llama3:8b": 8192, "codellama:13b": 16384}
SETTLE_SECONDS = 0.02
"""Before a reset: time for the client to read what was written, which a reset may otherwise overtake."""


@dataclass(slots=True)
class Recorded:
    """One request as it arrived, and how it ended. Times are the event loop's (`loop.time()`)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    model: str
    started: float
    client_closed_at: float | None = None
    """When the client closed the connection before the answer had ended; None: it did not."""
    finished_at: float | None = None
    deltas_sent: int = 0


@dataclass
class FakeProvider:
    """See the module's docstring. `models`: what the server lists, with the context window of each.

    `key`: every request must show it as its wire does, else the wire's own 401; None: no key is asked for.
    `passed_on`: models the Ollama protocol says are run by another host, and by which.
    `only_listed`: a model that is not listed gets the wire's own 404. `host`, `port`: where to listen; 0: any port.
    """

    models: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_MODELS))
    key: str | None = None
    only_listed: bool = False
    passed_on: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Recorded] = field(default_factory=list)
    """Every request in order of arrival, /api/tags and the like included."""

    def __post_init__(self) -> None:
        self._scripts: dict[str | None, deque[Step]] = defaultdict(deque)
        self._always: dict[str | None, Step] = {}
        self._left = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """`http://host:port`, no path."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def chats(self) -> list[Recorded]:
        """The requests that asked for an answer."""
        return [r for r in self.requests if r.method == "POST" and r.path != "/api/show"]

    @property
    def open_connections(self) -> int:
        assert self._runner is not None
        server = self._runner.server
        return len(server.connections) if server else 0

    @property
    def closed(self) -> list[Recorded]:
        """Requests whose client went away before the answer had ended."""
        return [r for r in self.requests if r.client_closed_at is not None]

    def script(self, *steps: Step, model: str | None = None) -> None:
        """Add steps: one request each, in order. `model` None: for requests of any model without a script."""
        self._scripts[model].extend(steps)

    def always(self, step: Step, model: str | None = None) -> None:
        """Answer so whenever no script is left."""
        self._always[model] = step

    def forget(self) -> None:
        """Drop scripts and what was recorded: for a test that shares this server with others."""
        self._scripts.clear()
        self._always.clear()
        self.requests.clear()
        self._left.clear()

    async def client_left(self, within: float = 1.0) -> Recorded:
        """The first request whose client closed early. Raises TimeoutError if none does `within` seconds."""
        async with asyncio.timeout(within):
            await self._left.wait()
        return self.closed[0]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/api/version", self._version),
                web.get("/api/tags", self._tags),
                web.post("/api/show", self._show),
                web.get("/v1/models", self._openai_models),
                web.get("/v1beta/models", self._gemini_models),
                web.post("/api/chat", self._ollama),
                web.post("/api/generate", self._ollama_text),
                web.post("/v1/messages", self._anthropic),
                web.post("/{version:v1(?:beta|alpha)?}/models/{call}", self._gemini),
                web.post("/{prefix:.*}chat/completions", self._openai),
                web.post("/{prefix:.*}completions", self._openai_text),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # -- what is listed ------------------------------------------------------------------------------------------

    async def _version(self, request: web.Request) -> web.Response:
        await self._record(request)
        return web.json_response({"version": "0.12.0"})

    async def _tags(self, request: web.Request) -> web.Response:
        await self._record(request)
        details = {"family": "llama", "parameter_size": "8B", "quantization_level": "Q4_0", "format": "gguf"}
        models = [{"name": m, "model": m, "size": 4_000_000_000, "details": details} for m in self.models]
        return web.json_response({"models": models})

    async def _show(self, request: web.Request) -> web.Response:
        record = await self._record(request)
        window = self.models.get(record.model)
        if window is None:
            return web.Response(status=404, body=wires.OLLAMA.error(404, model=record.model))
        info = {"general.architecture": "llama", "llama.context_length": window}
        shown = {"model_info": info, "capabilities": ["completion", "tools"], "parameters": ""}
        if host := self.passed_on.get(record.model):
            shown |= {"remote_host": host, "remote_model": f"{record.model}-original"}
        return web.json_response(shown)

    async def _openai_models(self, request: web.Request) -> web.Response:
        await self._record(request)
        data = [{"id": m, "object": "model", "created": wires.CREATED, "owned_by": "fake"} for m in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _gemini_models(self, request: web.Request) -> web.Response:
        await self._record(request)
        models = [{"name": f"models/{m}", "inputTokenLimit": window} for m, window in self.models.items()]
        return web.json_response({"models": models})

    # -- what is answered ----------------------------------------------------------------------------------------

    async def _ollama(self, request: web.Request) -> web.StreamResponse:
        return await self._chat(request, wires.OLLAMA, "authorization")

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        return await self._chat(request, wires.OPENAI, "authorization")

    async def _ollama_text(self, request: web.Request) -> web.StreamResponse:
        return await self._chat(request, text_wires.GENERATE, "authorization")

    async def _openai_text(self, request: web.Request) -> web.StreamResponse:
        return await self._chat(request, text_wires.COMPLETIONS, "authorization")

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        return await self._chat(request, wires.ANTHROPIC, "x-api-key")

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        return await self._chat(request, wires.GEMINI, "x-goog-api-key")

    async def _record(self, request: web.Request) -> Recorded:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        model = (body or {}).get("model") or request.match_info.get("call", "").partition(":")[0]
        headers = {name.lower(): value for name, value in request.headers.items()}
        now = asyncio.get_running_loop().time()
        record = Recorded(request.method, request.path, dict(request.query), headers, body, model, now)
        self.requests.append(record)
        return record

    async def _chat(self, request: web.Request, wire: wires.Wire, key_header: str) -> web.StreamResponse:
        record = await self._record(request)
        loop = asyncio.get_running_loop()
        try:
            shown = record.headers.get(key_header, "").removeprefix("Bearer ")
            response = self._refusal(record, wire, shown) or await _Player(request, record, wire, shown).play(
                self._next_step(record.model)
            )
        except (asyncio.CancelledError, ConnectionError) as gone:
            record.client_closed_at = loop.time()
            self._left.set()
            if isinstance(gone, asyncio.CancelledError):
                raise
            return web.Response()  # to nobody
        record.finished_at = loop.time()
        return response

    def _refusal(self, record: Recorded, wire: wires.Wire, shown: str) -> web.Response | None:
        if self.key is not None and shown != self.key:
            status, body = wire.bad_key()
            return web.Response(status=status, body=body, content_type="application/json")
        streams = record.query.get("alt") == "sse" if wire.name == "gemini" else record.body.get("stream") is True
        if not streams:
            return web.Response(status=400, body=wire.error(400, "this fake only streams"))
        if self.only_listed and record.model not in self.models:
            return web.Response(status=404, body=wire.error(404, model=record.model))
        return None

    def _next_step(self, model: str) -> Step:
        for name in (model, None):
            if self._scripts[name]:
                return self._scripts[name].popleft()
        return self._always.get(model) or self._always.get(None) or Reply()


@dataclass(slots=True)
class _Player:
    """Plays one step on one connection."""

    request: web.Request
    record: Recorded
    wire: wires.Wire
    key: str

    async def play(self, step: Step) -> web.StreamResponse:
        match step:
            case Reply():
                response = await self._open()
                await self._write(response, self._frames(step), step)
            case Status(code, headers, body, message):
                return self._answer(code, body or self.wire.error(code, message, self.record.model), headers)
            case ContextOverflow():
                return self._answer(*self.wire.overflow())
            case BadKey():
                return self._answer(*self.wire.bad_key())
            case KeyInError(code):
                return self._answer(code, self.wire.error(code, f"the key {self.key} may not be used (key={self.key})"))
            case EmptyStream():
                response = await self._open()
            case Hang("before_headers"):
                await asyncio.Event().wait()
            case Hang("after_headers"):
                await self._open()
                await asyncio.Event().wait()
            case _:
                response = await self._open()
                await self._write(response, self._first(step.after), Reply())
                await self._break(response, step)
        return response

    async def _break(
        self, response: web.StreamResponse, step: Hang | CutMidStream | MalformedChunk | ErrorInStream
    ) -> None:
        match step:
            case Hang():
                await asyncio.Event().wait()
            case CutMidStream(how="reset"):
                await asyncio.sleep(SETTLE_SECONDS)
                self._reset()
            case MalformedChunk(after):
                await response.write(self.wire.malformed)
                await self._write(response, self._frames(Reply())[len(self._first(after)) :], Reply())
            case ErrorInStream():
                await response.write(self.wire.error_frame(step))
            case CutMidStream():
                pass

    def _reset(self) -> None:
        transport = self.request.transport
        assert transport is not None
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.Response(status=status, body=body, headers={"content-type": "application/json", **(headers or {})})

    async def _open(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": self.wire.content_type})
        await response.prepare(self.request)
        return response

    def _frames(self, reply: Reply) -> list[wires.Frame]:
        return self.wire.frames(reply, self.record.model, wires.prompt_tokens(self.record.body))

    def _first(self, deltas: int) -> list[wires.Frame]:
        """The frames of the default answer up to and including that many deltas."""
        frames, seen = self._frames(Reply()), 0
        for place, frame in enumerate(frames):
            if seen == deltas:
                return frames[:place]
            seen += frame.delta
        return frames

    async def _write(self, response: web.StreamResponse, frames: list[wires.Frame], reply: Reply) -> None:
        for frame in frames:
            if frame.delta and reply.delay:
                await asyncio.sleep(reply.delay)
            size = reply.write_size or len(frame.data)
            for start in range(0, len(frame.data), size):
                await response.write(frame.data[start : start + size])
            self.record.deltas_sent += frame.delta
