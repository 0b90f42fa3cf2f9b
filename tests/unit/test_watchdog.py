from __future__ import annotations

import asyncio
import time

import pytest

from app.errors import AttemptTimeout
from app.llm.watchdog import Limits, Watchdog


async def many_waits(dog: Watchdog, seconds: float) -> None:
    for _ in range(50):
        await dog.wait(asyncio.sleep(seconds))


async def test_no_first_token() -> None:
    dog = Watchdog(Limits(first_token=0.05, idle=10, total=10))
    with pytest.raises(AttemptTimeout, match=r"no first token within 0\.05 s"):
        await dog.wait(asyncio.sleep(5))
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    dog.close()


async def test_reads_without_content_do_not_extend_the_first_token_limit() -> None:
    dog = Watchdog(Limits(first_token=0.1, idle=10, total=10))
    started = time.monotonic()
    with pytest.raises(AttemptTimeout):
        await many_waits(dog, 0.03)
    assert time.monotonic() - started < 0.5
    dog.close()


async def test_each_read_after_content_extends_the_idle_limit() -> None:
    dog = Watchdog(Limits(first_token=10, idle=0.1, total=10))
    dog.content_seen = True
    for _ in range(5):
        await dog.wait(asyncio.sleep(0.04))
    with pytest.raises(AttemptTimeout, match=r"nothing for 0\.1 s"):
        await dog.wait(asyncio.sleep(5))
    dog.close()


async def test_the_total_holds_over_a_lively_stream() -> None:
    dog = Watchdog(Limits(first_token=10, idle=10, total=0.1))
    dog.content_seen = True
    with pytest.raises(AttemptTimeout, match=r"longer than 0\.1 s"):
        await many_waits(dog, 0.02)
    dog.close()


async def test_a_slow_consumer_is_not_cut() -> None:
    dog = Watchdog(Limits(first_token=10, idle=0.05, total=10))
    dog.content_seen = True
    await dog.wait(asyncio.sleep(0))
    await asyncio.sleep(0.2)
    await dog.wait(asyncio.sleep(0))
    dog.close()


async def test_a_cancellation_from_elsewhere_goes_on() -> None:
    dog = Watchdog(Limits(first_token=10, idle=10, total=10))

    async def reads() -> None:
        await dog.wait(asyncio.sleep(5))

    task = asyncio.create_task(reads())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    dog.close()
