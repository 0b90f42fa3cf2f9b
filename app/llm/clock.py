"""Time, sleep and chance, passed in: a test drives days in milliseconds, the program uses `SYSTEM_CLOCK`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """`now`: UTC; `monotonic`: seconds, for durations; `sleep`: seconds; `chance`: uniform in [0, 1)."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


SYSTEM_CLOCK = Clock()
