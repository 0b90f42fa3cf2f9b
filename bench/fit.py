"""How long choosing and building a context takes. Run: python bench/fit.py"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from statistics import median

from app.context.blocks import CodeChunk, Material
from app.context.builder import ContextBuilder
from app.context.fit import Sized, fit
from app.context.tokens import TokenCounter

ROUNDS = 30


def timed(work: Callable[[], object]) -> float:
    """The median of `ROUNDS`, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times) * 1_000


def counted_blocks(count: int) -> list[Sized]:
    rng = random.Random(1)
    return [
        Sized(f"b{i}", rng.choice((2, 3)), rng.randrange(count), (rng.randrange(50, 400), rng.randrange(10, 50)))
        for i in range(count)
    ]


def material(messages: int, chunks: int) -> Material:
    return Material(
        messages=[{"role": "user", "content": "What did we decide about the retry policy?"}],
        system_prompt="You are a careful assistant. " * 20,
        history=[
            {"role": "user" if i % 2 == 0 else "assistant", "content": f"Message {i}: " + "we looked at the code " * 30}
            for i in range(messages)
        ],
        chunks=[CodeChunk(f"def f{i}():\n" + "    pass\n" * 20, f"m{i}.py", 1, 21, i / chunks) for i in range(chunks)],
    )


def main() -> None:
    print(f"{'median of ' + str(ROUNDS):48} {'ms':>9}")
    for count in (100, 2_000, 20_000):
        blocks = counted_blocks(count)
        print(f"{f'fit, {count} counted blocks, a third fits':48} {timed(lambda b=blocks: fit(b, 70 * len(b))):9.3f}")  # type: ignore[misc]
    counter = TokenCounter()
    counter.load()
    builder = ContextBuilder(counter)
    runner = asyncio.Runner()

    async def whole(offered: Material) -> None:
        prepared = await builder.prepare(offered)
        await builder.fit(prepared, model_id="m", window=8_192, tokenizer="llama3")

    plain = Material(messages=[{"role": "user", "content": "How do I fix the OOM error?"}])
    cases = [("one plain question", plain)] + [
        (f"{messages} messages, {chunks} chunks, warm cache", material(messages, chunks))
        for messages, chunks in ((0, 0), (200, 0), (200, 20), (2_000, 200))
    ]
    with runner:
        for name, offered in cases:
            runner.run(whole(offered))
            print(f"{'prepare and fit, ' + name:48} {timed(lambda o=offered: runner.run(whole(o))):9.3f}")  # type: ignore[misc]
    counter.close()


if __name__ == "__main__":
    main()
