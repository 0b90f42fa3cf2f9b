"""What a slot costs: nobody in the way, and a line of callers at a server that takes two at once.

python -m bench.slots
"""

from __future__ import annotations

import asyncio
import time

from app.llm.slots import Place, Slots

ROUNDS = 100_000
CALLERS = 2_000


async def uncontended(slots: Slots, place: Place) -> float:
    """Microseconds per hold."""
    started = time.perf_counter()
    for _ in range(ROUNDS):
        async with slots.hold(place, interactive=True):
            pass
    return (time.perf_counter() - started) / ROUNDS * 1e6


async def in_line(slots: Slots, place: Place) -> float:
    """Microseconds per caller, where all but two of `CALLERS` wait."""

    async def call() -> None:
        async with slots.hold(place, interactive=True):
            await asyncio.sleep(0)

    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return (time.perf_counter() - started) / CALLERS * 1e6


async def main() -> None:
    slots = Slots()
    print(f"{'case':<36}{'µs':>8}")
    print(f"{'nobody in the way':<36}{await uncontended(slots, Place('http://127.0.0.1:11434')):>8.2f}")
    print(f"{'two at once, 2,000 callers':<36}{await in_line(slots, Place('http://127.0.0.1:11434', 2)):>8.2f}")


if __name__ == "__main__":
    asyncio.run(main())
