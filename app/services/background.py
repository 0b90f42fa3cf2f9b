"""What runs beside the requests: the warm-up, the watch on the configuration."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

from app import __version__
from app.services.agents import start_agents
from app.services.parts import Services
from app.services.tracing import open_tracing

log = logging.getLogger(__name__)


async def start_background(services: Services, stack: AsyncExitStack, freeze: bool) -> None:
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
    services.ledger.observe(services.happenings.settled)
    services.ledger.observe(services.metrics.observe)
    services.config.subscribe(lambda config: services.happenings.publish("config", {"fingerprint": config.fingerprint}))
    _start_tracing(services, stack)
    start(_warm_up(services, freeze))
    start(services.config.watch(stop))
    start(_resume_watches(services))
    await start_agents(services.agents, services.config, services.clock, stack)
    services.config.subscribe(lambda _: start(services.refresh_models(force=True)))


def _start_tracing(services: Services, stack: AsyncExitStack) -> None:
    def trusted_hosts() -> tuple[str, ...]:
        return tuple(services.config.current.models.trusted_hosts)

    tracing = open_tracing(
        os.environ, __version__, lambda workspace: services.config.current.is_private(workspace), trusted_hosts
    )
    if tracing is not None:
        services.ledger.observe(tracing.observe)
        stack.push_async_callback(asyncio.to_thread, tracing.close)


async def _resume_watches(services: Services) -> None:
    """Behind the warm-up: nobody waits for it, and it imports LanceDB."""
    await services.warm.wait()
    await services.indexing.resume()


async def _warm_up(services: Services, freeze: bool) -> None:
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[None] = loop.create_future()

    def load() -> None:
        try:
            # First: the memory that reading it takes is then free for litellm.
            services.counter.load()
        except Exception:
            log.exception("the tokenizer could not be loaded")
        services.translator.load()  # keeps its own problem, for /health and for requests that need it
        with suppress(RuntimeError):  # the loop is closed: the sidecar ended while this was loading
            loop.call_soon_threadsafe(_resolve, loaded)
        _give_back()

    # A thread of its own, and a daemon: an import cannot be cancelled, and must not hold up the end of the process.
    threading.Thread(target=load, name="warm-up", daemon=True).start()
    try:
        await services.refresh_models()
        await loaded
    finally:
        if freeze:
            # Not collected first: 0.1 s in which nobody is answered, and hardly anything is found.
            gc.freeze()
            gc.enable()
    services.warm.set()
    log.info("ready: litellm and the tokenizer are loaded")


def _give_back() -> None:
    """Give the system the memory that was only needed meanwhile: 5 MB, which glibc would keep for each thread that
    imported or read something. Elsewhere nothing."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
