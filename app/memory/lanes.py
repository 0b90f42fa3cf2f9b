"""A lane: one thread that takes the most urgent of its waiting jobs first."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(order=True, slots=True)
class _Job:
    urgency: int
    number: int
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)
    begun: threading.Lock | None = field(compare=False, default=None)
    """Held until the job's turn has come."""


class Lane:
    """Runs jobs one after the other on a thread of its own, which starts with the first one.

    Among waiting jobs the lowest `urgency` goes first, then the oldest. A job whose future is cancelled before its turn
    is never run.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._jobs: list[_Job] = []
        self._numbers = count()
        self._lock = threading.Lock()
        self._busy = False

    def submit(self, work: Callable[[], T], urgency: int = 0, let_begin: float = 0.0) -> Future[T]:
        """Raises `RuntimeError` once the lane is closed.

        `let_begin`: seconds to stand aside at most, where the lane is idle, until the job has begun. Its thread needs
        the interpreter for that, and a caller who goes on with other work keeps it for up to 5 ms
        (`sys.getswitchinterval`): what was to run beside that work would run after it.
        """
        future: Future[T] = Future()
        with self._lock:
            idle = not (self._busy or self._jobs)
            begun = threading.Lock() if let_begin and idle else None
            if begun is not None:
                begun.acquire()
            self._pool.submit(self._run_next)  # as many calls as jobs; which job a call takes is decided when it runs
            heapq.heappush(self._jobs, _Job(urgency, next(self._numbers), work, future, begun))
        if begun is not None:
            begun.acquire(timeout=let_begin)
        return future

    def _run_next(self) -> None:
        with self._lock:
            if not self._jobs:
                return  # closed
            job = heapq.heappop(self._jobs)
            self._busy = True
        if job.begun is not None:
            job.begun.release()
        if not job.future.set_running_or_notify_cancel():
            self._busy = False
            return
        try:
            result = job.work()
        except BaseException as error:
            self._busy = False
            job.future.set_exception(error)
        else:
            self._busy = False
            job.future.set_result(result)

    def close(self, error: Exception) -> None:
        """Fail what waits with `error`; the job under way ends by itself. Does not block."""
        with self._lock:
            waiting, self._jobs = self._jobs, []
            self._pool.shutdown(wait=False)
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(error)
