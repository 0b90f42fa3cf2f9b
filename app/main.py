"""create_app(services): the HTTP application. serve(settings): a process that runs it. Nothing is built at import.

serve ── lock the data folder ── bind, /health answers ── import, open services ── ready line ── requests
                                                                                     │ SIGTERM, SIGINT, SIGBREAK
                                 exit ── close services ── wait ── shutting_down: streams get their `error` event

Its own imports are few on purpose: the program behind the port takes half a second to import, /health must not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import uvicorn
from starlette.types import ASGIApp

from app import __version__
from app.api.logs import LogFormat, RedactingFormatter, keep_last_lines
from app.api.protocol import HEAD_SECONDS, http_protocol
from app.api.security import DoorPolicy
from app.api.starting import Starting
from app.api.token_file import load_or_create_token
from app.config.redact import Redactor
from app.errors import StartupError
from app.process import (
    Parent,
    bound_socket,
    lock_data_folder,
    no_collections,
    parent_watch,
    private_files,
    signals,
)
from app.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.api.deps import Services

log = logging.getLogger(__name__)

SHORT_TOKEN: Final = 16
"""Characters under which a token is worth a warning: it can be guessed through an open port. Our own have 43."""
STREAMS_END_SECONDS: Final = 2
"""How long open answers may take to say their last word; the whole shutdown has 5 s."""
TICKS_PER_SECOND: Final = 10
"""uvicorn's: its `on_tick` renews the Date header where this divides the count it is given."""

NOBODY: Final = Parent()

OpenServices: TypeAlias = "Callable[[Settings, str], AbstractAsyncContextManager[Services]]"


def create_app(services: Services) -> FastAPI:
    """The application for services that are open. Its lifespan ends open streams when `shutting_down` is set."""
    from app.api.application import create_app as create

    return create(services)


def openapi_document() -> dict[str, Any]:
    """The description of the HTTP interface, made from the code alone: no services, no files."""
    from app.api.application import openapi_document as describe

    return describe()


async def serve(settings: Settings, open_services: OpenServices | None = None, parent: Parent = NOBODY) -> int:
    """Run a sidecar until it is told to stop, or until `parent` has ended; its exit status.

    Raises `StartupError` (data folder locked, port taken, …) and `ConfigError` before the ready line.
    """
    redactor = configure_logging(settings.log_level, settings.log_format)
    with private_files(), lock_data_folder(settings.data_dir), bound_socket(settings.host, settings.port) as listener:
        token = token_of(settings)
        redactor.add(token)
        keep_last_lines(settings.data_dir, RedactingFormatter(redactor, settings.log_format))
        starting = Starting(DoorPolicy(token, tuple(settings.allowed_hosts), tuple(settings.allowed_origins)))
        server = SidecarServer(server_config(starting, lifespan="off"))
        stopping = asyncio.Event()

        def stop() -> None:
            # The first time in order; a second time nobody is waited for.
            server.force_exit = server.should_exit
            server.should_exit = True
            stopping.set()

        def left_alone() -> None:
            # A parent's death is seen in up to two ways, and is no second order.
            if not stopping.is_set():
                stop()

        with signals(stop), parent_watch(parent, left_alone), no_collections():
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            # A server that ended by itself ends the process; its error is raised where it is awaited.
            serving.add_done_callback(lambda _: stopping.set())
            try:
                # In a thread: while it imports most of the program, /health is answered.
                create, opener = await asyncio.to_thread(_load_program, redactor)
                async with (open_services or opener)(settings, token) as services:
                    await _run(create(services), services, starting, stopping, serving, listener)
            finally:
                server.should_exit = True
                await serving
    return 0


async def _run(
    app: FastAPI,
    services: Services,
    starting: Starting,
    stopping: asyncio.Event,
    serving: asyncio.Task[None],
    listener: socket.socket,
) -> None:
    async with app.router.lifespan_context(app):
        starting.hand_over(app)
        if not stopping.is_set():
            announce(listener, services)
        await stopping.wait()
        services.shutting_down.set()
        await serving


def _load_program(redactor: Redactor) -> tuple[Callable[[Services], FastAPI], OpenServices]:
    from app.api.application import create_app as create
    from app.services import open_services

    def opener(settings: Settings, token: str) -> AbstractAsyncContextManager[Services]:
        return open_services(settings, token=token, freeze=True, redactor=redactor)

    return create, opener


def server_config(
    app: ASGIApp, head_seconds: float = HEAD_SECONDS, lifespan: Literal["on", "off"] = "on"
) -> uvicorn.Config:
    """How the application is served: no access log, no trust in forwarding headers, no endless request heads."""
    return uvicorn.Config(
        app,
        http=http_protocol(head_seconds),
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STREAMS_END_SECONDS,
    )


class SidecarServer(uvicorn.Server):
    """uvicorn that leaves signals to us: its own way ends the process with the signal, whatever is still open.

    It is woken when it shall leave, and once a second for the Date header: uvicorn's loop looks ten times a second,
    which keeps a laptop from its sleep and an order to stop waiting.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        self._leave = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        return self._leave.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._leave.set()
        else:
            self._leave.clear()

    async def main_loop(self) -> None:
        tick = 0
        while not await self.on_tick(tick):
            tick += TICKS_PER_SECOND
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._leave.wait()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def announce(listener: socket.socket, services: Services) -> None:
    """The one line on stdout, for the program that started us; never the token."""
    line = {
        "event": "ready",
        "port": listener.getsockname()[1],
        "pid": os.getpid(),
        "version": __version__,
        "instance_id": services.instance_id,
    }
    print(json.dumps(line), flush=True)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d; Ctrl-C ends it", f"[{host}]" if ":" in host else host, port)


def token_of(settings: Settings) -> str:
    """SIDECAR_TOKEN, else the data folder's. Raises `StartupError` where no header carries it."""
    if not settings.token:
        return load_or_create_token(settings.token_path)
    token = settings.token.get_secret_value()
    if not all("!" <= character <= "~" for character in token):
        raise StartupError("SIDECAR_TOKEN must be ASCII characters without spaces")
    if len(token) < SHORT_TOKEN:
        log.warning(
            "SIDECAR_TOKEN has %d characters: short enough to be guessed; leave it out to have one made", len(token)
        )
    return token


def configure_logging(level: str, form: LogFormat = "text") -> Redactor:
    """Logs go to stderr; stdout is for the ready line. What is added to the result never appears in them."""
    redactor = Redactor()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(redactor, form))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per connection, start-up step and file event is noise at `info`.
    for noisy in ("uvicorn.error", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    return redactor
