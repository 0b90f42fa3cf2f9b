"""A GGUF file served in this process: llama.cpp's own HTTP server, in a thread, on loopback, behind a key of its own.

Wanted by models named `embedded/<name>`; started at the first call of each and then asked over HTTP like any other
OpenAI-style server, so that nothing above has to know that it is ours.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ModelNotFound, Unreachable
from app.routing.catalog import ModelSpec

PARALLEL = 2
"""Requests a model answers at once. They share one context (llama.cpp's own default), each up to the whole window."""
START_SECONDS = 30.0
"""How long a model may take to read its first token before it is believed to be running anyway."""
QUIET = 0
"""llama.cpp's log level: nothing. Its lines may quote prompts, and what went wrong comes back as an exception."""
MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. `engine` keeps it alive: llama.cpp stops when the object goes."""

    api_base: str
    """Ends in `/v1`."""
    key: str
    engine: Any


class EmbeddedModels:
    """One llama.cpp server per model, started when it is first wanted. Belongs to one event loop.

    `threads` is llama.cpp's number of computing threads; None: as many as the machine has cores.
    """

    def __init__(self, threads: int | None = None, new_key: Callable[[], str] = lambda: secrets.token_hex(32)) -> None:
        self._threads = threads
        self._new_key = new_key
        self._servers: dict[str, EmbeddedServer] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded")
        self._closed = False

    async def ensure(self, spec: ModelSpec) -> tuple[str, str]:
        """The address (`http://127.0.0.1:<port>/v1`) and the key of the model's server, started if need be.

        Raises `ModelNotFound` for a file that is not there or is no GGUF model, `Unreachable` where the extra
        `embedded` is not installed. A start that failed is tried again by the next call.
        """
        server = self._servers.get(spec.id)
        if server is None:
            async with self._locks.setdefault(spec.id, asyncio.Lock()):
                server = self._servers.get(spec.id) or await self._start(spec)
        return server.api_base, server.key

    async def _start(self, spec: ModelSpec) -> EmbeddedServer:
        if self._closed:
            raise Unreachable("the sidecar is shutting down")
        loop = asyncio.get_running_loop()
        starting = loop.run_in_executor(self._starter, start_server, spec, self._new_key(), self._threads)
        # A caller that goes away must not leave a server nobody knows: it is kept for the next one.
        starting.add_done_callback(lambda done: self._keep(spec.id, done))
        return await asyncio.shield(starting)

    def _keep(self, model: str, done: asyncio.Future[EmbeddedServer]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._servers[model] = done.result()

    async def aclose(self) -> None:
        """Stop every server. Answers under way break off."""
        if self._closed:
            return
        self._closed = True
        self._servers, servers = {}, list(self._servers.values())
        await asyncio.get_running_loop().run_in_executor(self._starter, servers.clear)
        self._starter.shutdown(wait=False)


def start_server(spec: ModelSpec, key: str, threads: int | None = None) -> EmbeddedServer:
    """Load the model and listen on a free port of 127.0.0.1. Blocks for as long as loading takes.

    Raises as `EmbeddedModels.ensure` says.
    """
    path = _model_file(spec)
    try:
        import xllamacpp  # here: 34 MB of native code that most installations do not have
    except ImportError as error:
        raise Unreachable(
            f"{spec.id} needs the extra `embedded`: run `make embedded`, or `pip install 'llm-sidecar[embedded]'`"
        ) from error
    params = _parameters(xllamacpp.CommonParams(), spec, path, key, threads)
    try:
        engine = xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelNotFound(
            f"{spec.id}: llama.cpp cannot load {path}; is the file whole and the model known to it?"
        ) from error
    _await_answer(engine.listening_address, key)
    return EmbeddedServer(f"{engine.listening_address}/v1", key, engine)


def _await_answer(address: str, key: str) -> None:
    """Return once llama.cpp's queue has served something: one token read, none written.

    Its constructor returns before its queue runs. Stopping it in between is lost, and its destructor then waits for
    ever with Python's interpreter lock in its hand: the whole program would stand still.
    """
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=START_SECONDS)
    try:
        body = json.dumps({"prompt": "a", "n_predict": 0})
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/completion", body, headers)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return  # the first real request says what is wrong
    finally:
        connection.close()


def _parameters(params: Any, spec: ModelSpec, path: Path, key: str, threads: int | None) -> Any:
    params.model.path = str(path)
    params.model_alias = {spec.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = spec.context_window.value
    params.n_parallel = PARALLEL
    params.kv_unified = True
    params.fit_params = False  # it would shrink the window the catalog promises to what fits
    params.use_jinja = True
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False  # would show one request's prompt to another
    params.verbosity = QUIET
    if threads is not None:
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
    return params


def _model_file(spec: ModelSpec) -> Path:
    if not spec.gguf:
        raise ModelNotFound(f"{spec.id} names no file: give it `gguf: <path>` in models.yaml")
    path = Path(spec.gguf).expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise ModelNotFound(
            f"{spec.id}: {path} cannot be read ({error.strerror}); correct `gguf` in models.yaml or download the model"
        ) from error
    if magic != MAGIC:
        raise ModelNotFound(f"{spec.id}: {path} is not a GGUF file; correct `gguf` in models.yaml")
    return path
