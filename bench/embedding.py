"""What embedding and recall cost: load, memory, a query, a query while bulk work runs, texts a second, ranking.

    python -m bench.embedding [--model DIR] [--texts 200] [--messages 1000]

Texts are pieces of this project's own source of about 100 word pieces. "Stall" is the longest the event loop was kept
from a timer of 1 ms meanwhile. Ranking is `Recall.scores` and `ranking` over a conversation whose vectors are there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import psutil

from app.memory.embedder import Embedder, Urgency
from app.memory.model_files import EmbedderUnavailable, default_folder
from app.memory.recall import Recall, Remembered, ranking

PIECE = 420
"""Characters; about 100 word pieces of Python."""
QUERY = "which error is raised when no model is permitted?"


def row(name: str, value: float, unit: str) -> None:
    print(f"{name:44}{value:10.1f} {unit}")


def resident() -> float:
    """What this process holds, in MB."""
    size: int = psutil.Process().memory_info().rss
    return size / (1 << 20)


def source_texts(count: int) -> list[str]:
    root = Path(__file__).resolve().parents[1] / "app"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py")))
    starts = range(0, len(text) - PIECE, PIECE)
    return [f"{text[starts[i % len(starts)] :][:PIECE]} {i // len(starts)}" for i in range(count)]


async def milliseconds(embedder: Embedder, until: Callable[[int], bool]) -> list[float]:
    """One query after the other, each a little different, until `until(how many)` says so."""
    taken: list[float] = []
    while not until(len(taken)):
        began = time.perf_counter()
        await embedder.question(f"{QUERY} {len(taken)}")
        taken.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.02)
    return taken


async def longest_stall(stop: asyncio.Event) -> float:
    worst, last = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        worst, last = max(worst, now - last - 0.001), now
    return worst


async def embedding(embedder: Embedder, texts: Sequence[str]) -> None:
    before = resident()
    began = time.perf_counter()
    await embedder.load()
    row("load", (time.perf_counter() - began) * 1e3, "ms")
    await embedder.embed(texts[:50], Urgency.INDEX)
    stored = resident()
    began = time.perf_counter()
    await embedder.question(QUERY)
    row("the first query", (time.perf_counter() - began) * 1e3, "ms")
    asked = resident()
    row("query, idle (median)", median(await milliseconds(embedder, lambda n: n == 50)), "ms")
    stop = asyncio.Event()
    watcher = asyncio.create_task(longest_stall(stop))
    began = time.perf_counter()
    bulk = asyncio.create_task(embedder.embed(texts, Urgency.INDEX))
    beside = await milliseconds(embedder, lambda _: bulk.done())
    await bulk
    row("texts of 100 word pieces, queries beside", len(texts) / (time.perf_counter() - began), "a second")
    row("query while they are embedded (median)", median(beside), "ms")
    row("  the slowest", max(beside), "ms")
    stop.set()
    row("  longest stall of the event loop", (await watcher) * 1e3, "ms")
    began = time.perf_counter()
    await embedder.embed(texts, Urgency.INDEX)
    row("texts of 100 word pieces, alone", len(texts) / (time.perf_counter() - began), "a second")
    row("memory over the process without a model", stored - before, "MB")
    row("  once a query was asked, more", asked - stored, "MB")


async def recalling(embedder: Embedder, texts: Sequence[str], messages: int) -> None:
    vectors = await embedder.embed(texts, Urgency.INDEX)
    asked = await embedder.question(QUERY)
    recall = Recall()
    began = time.perf_counter()
    for number in range(messages):
        place = number % len(texts)
        recall.add(Remembered(f"{texts[place]} {number}"), vectors[place].tobytes())
    row(f"{messages} messages into recall", (time.perf_counter() - began) * 1e3, "ms")
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        ranking(recall.scores(QUERY, asked))
        taken.append((time.perf_counter() - began) * 1e3)
    row(f"ranking {messages} messages (median)", median(taken), "ms")


async def run(model: Path, texts: int, messages: int) -> None:
    embedder = Embedder(model)
    try:
        pieces = source_texts(texts)
        await embedding(embedder, pieces)
        await recalling(embedder, pieces, messages)
    finally:
        await embedder.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description="What embedding and recall cost.")
    parser.add_argument("--model", type=Path, default=None, help="folder of the embedding model's files")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--messages", type=int, default=1000)
    options = parser.parse_args()
    try:
        asyncio.run(run(options.model or default_folder(), options.texts, options.messages))
    except EmbedderUnavailable as error:
        print(f"not measured: {error.detail}", file=sys.stderr)


if __name__ == "__main__":
    main()
