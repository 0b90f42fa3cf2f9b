"""How long counting tokens takes, and how long it keeps the event loop. Run: python bench/counting.py"""

from __future__ import annotations

import asyncio
import resource
import time

from app.context.tokens import TokenCounter

MEGABYTE = ("def area(width: float, height: float) -> float:\n    return width * height  # square metres\n" * 11_000)[
    :1_000_000
]


async def longest_stall(counter: TokenCounter, text: str) -> tuple[float, float, int]:
    """Seconds of work, the longest the loop did not turn, and the count."""
    gaps = [0.0]
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before - 0.001)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    started = time.perf_counter()
    tokens = sum(await counter.acount_many([text], "llama3"))
    took = time.perf_counter() - started
    done.set()
    await watcher
    return took, max(gaps), tokens


def memory() -> int:
    """The most this process has had resident, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


async def main() -> None:
    before = memory()
    counter = TokenCounter()
    started = time.perf_counter()
    counter.load()
    print(f"load cl100k_base: {(time.perf_counter() - started) * 1_000:.0f} ms, {memory() - before} MB\n")
    cases = {
        "1 MB of code": MEGABYTE,
        "the same again (cached)": MEGABYTE,
        "a line of 10 MB": "ab " * 3_333_333,
        "100,000 times one letter": "a" * 100_000,
        "a million spaces": " " * 1_000_000,
        "20 KB (on the loop)": MEGABYTE[7:20_007],
    }
    print(f"{'':28} {'ms':>8} {'longest stall, ms':>18} {'tokens':>10}")
    for name, text in cases.items():
        took, stall, tokens = await longest_stall(counter, text)
        print(f"{name:28} {took * 1_000:8.1f} {stall * 1_000:18.1f} {tokens:10}")
    counter.close()


if __name__ == "__main__":
    asyncio.run(main())
