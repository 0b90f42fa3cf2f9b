"""RunLog: what a run says while it goes on: lines and progress, bounded, without keys, and heard live."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from app.store.tables import to_text

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

MAX_LINE: Final = 2_000
"""Characters of one line; the rest of it is cut off."""
FIRST_LINES: Final = 200
LAST_LINES: Final = 800
"""Of a run that says more, its beginning and its end are kept."""
MAX_WAITING: Final = 256
"""Events a listener may be behind; one who is further behind loses the oldest."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `at`: ISO 8601, UTC."""

    at: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. `done` of `total`, where it counts something."""

    text: str
    done: int | None = None
    total: int | None = None


News: TypeAlias = Line | Progress


@dataclass(frozen=True, slots=True)
class Heard:
    """`news`, and how many lines had been said by then: a listener who comes back goes on after that `number`."""

    number: int
    news: News


def numbered(lines: Sequence[Line]) -> list[Heard]:
    """The lines that were kept, as `RunLog.lines` or the store gives them, under the numbers they were said with.

    The line that stands for those that were left out has the number of the last of them.
    """
    left_out = 0
    if len(lines) > FIRST_LINES + LAST_LINES:
        left_out = int(lines[FIRST_LINES].text.strip("[]").partition(" ")[0])
    gap = max(0, left_out - 1)  # the line in their place counts as one of them
    return [Heard(n + 1 + (gap if n >= FIRST_LINES else 0), line) for n, line in enumerate(lines)]


class RunLog:
    """One run's. Used from the event loop."""

    def __init__(self, run_id: str, now: Callable[[], datetime], redact: Callable[[str], str]) -> None:
        self._run_id = run_id
        self._now = now
        self._redact = redact
        self._first: list[Line] = []
        self._last: deque[Line] = deque(maxlen=LAST_LINES)
        self._left_out = 0
        self._said = 0
        self._listeners: dict[int, deque[Heard]] = {}
        self._told = asyncio.Event()
        self.current: Progress | None = None
        self.closed = False
        self.version = 0
        """Counts what was said; tells whether there is something new to keep."""

    # -- saying

    def debug(self, text: str) -> None:
        self._line("debug", text)

    def info(self, text: str) -> None:
        self._line("info", text)

    def warning(self, text: str) -> None:
        self._line("warning", text)

    def error(self, text: str) -> None:
        self._line("error", text)

    def progress(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Where the run stands now; not a line of the log."""
        self.current = Progress(self._clean(text), done, total)
        self._tell(self.current)

    def close(self) -> None:
        """The run is over: listeners end once they have heard everything."""
        self.closed = True
        self._told.set()

    def _line(self, level: Level, text: str) -> None:
        line = Line(to_text(self._now()), level, self._clean(text))
        self._said += 1
        log.debug("run %s: %s", self._run_id, line.text)
        if len(self._first) < FIRST_LINES:
            self._first.append(line)
        else:
            self._left_out += len(self._last) == LAST_LINES
            self._last.append(line)
        self._tell(line)

    def _clean(self, text: str) -> str:
        cut = text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]} [...]"
        # What cannot be encoded could be neither stored nor sent.
        return self._redact(cut).encode("utf-8", "replace").decode()

    def _tell(self, news: News) -> None:
        self.version += 1
        for waiting in self._listeners.values():
            waiting.append(Heard(self._said, news))
        self._told.set()
        self._told = asyncio.Event()

    # -- hearing

    @property
    def lines(self) -> list[Line]:
        """What is kept, in order, with a line that says how many were left out."""
        middle = []
        if self._left_out:
            middle = [Line(self._last[0].at, "info", f"[{self._left_out} lines left out]")]
        return [*self._first, *middle, *self._last]

    def to_json(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """(progress, lines) as they are stored."""
        return asdict(self.current) if self.current else None, [asdict(line) for line in self.lines]

    async def listen(self, after: int = 0) -> AsyncIterator[list[Heard]]:
        """The lines said so far after number `after` and where it stands, then what is said; ends with the run."""
        waiting: deque[Heard] = deque(maxlen=MAX_WAITING)
        so_far = [heard for heard in numbered(self.lines) if heard.number > after]
        if self.current:
            so_far.append(Heard(self._said, self.current))
        self._listeners[id(waiting)] = waiting
        try:
            if so_far:
                yield so_far
            while True:
                told = self._told
                if waiting:
                    batch = list(waiting)
                    waiting.clear()
                    yield batch
                elif self.closed:
                    return
                else:
                    await told.wait()
        finally:
            del self._listeners[id(waiting)]
