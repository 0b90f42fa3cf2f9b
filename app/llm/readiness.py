"""Something a background thread prepares and tasks of an event loop wait for, without a thread per waiter."""

from __future__ import annotations

import asyncio
import threading

from app.errors import Unsupported


class Readiness:
    """Ends once, in any thread; `failure` says why what was awaited cannot be used."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self.failure: str | None = None

    @property
    def ended(self) -> bool:
        """True once `end` was called."""
        return self._ended.is_set()

    def end(self, failure: str | None = None) -> None:
        """Wake everybody who waits, on their own loops."""
        with self._lock:
            self.failure = failure
            self._ended.set()
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)

    async def wait(self) -> None:
        """Return once it has ended. Raises `Unsupported` with the failure, if there is one."""
        if not self.ended:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            with self._lock:
                if self._ended.is_set():
                    future.set_result(None)
                else:
                    self._waiting.append((loop, future))
            await future
        if self.failure is not None:
            raise Unsupported(self.failure)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
