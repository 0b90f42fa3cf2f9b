"""Entities at 20,000: how long a search takes, by words and by meaning, and what is two hops around what was found.

    python -m bench.entity_search [--entities N]

Names are those of a made-up code base and of concepts, in words that recur as they do in real ones (Zipf); vectors are
random, because only their number matters here. The floor in the same run is one row read by its key.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np

from app.config.schema import Profile
from app.memory.embedder import DIMENSIONS
from app.memory.entities import EntityRef, NewEntity, NewRelation, Origin, Source
from app.memory.entity_vectors import _Held, _nearest
from app.memory.graph import EntityGraph
from app.store.database import Database

T = TypeVar("T")

NOW = datetime(2026, 11, 26, 22, 0, tzinfo=UTC)
PER_FILE = 40
REPEATS = 60
STEMS = [f"{a}{b}" for a in "bcdfghjklmnprstvw" for b in ("ator", "ex", "index", "port", "rule", "sum", "tick", "unit")]


def named(chance: random.Random) -> str:
    words = [STEMS[min(int(chance.paretovariate(0.6)) - 1, len(STEMS) - 1)] for _ in range(chance.randint(1, 3))]
    return "".join(word.capitalize() for word in words) + str(chance.randint(0, 400))


def file_of(number: int, chance: random.Random, known: list[str]) -> tuple[list[NewEntity], list[NewRelation]]:
    path = f"src/part{number % 60}/{named(chance).lower()}_{number}.py"
    names = list(dict.fromkeys(named(chance) for _ in range(PER_FILE - 1)))
    entities = [NewEntity(path, "file", path=path)]
    relations = []
    for line, name in enumerate(names, start=1):
        entities.append(NewEntity(name, "class", f"class {name}: what it does for {named(chance)}.", (), path, line))
        relations.append(NewRelation(EntityRef(path, "file"), EntityRef(name, "class"), "defines"))
        others = chance.sample(known, min(2, len(known)))
        relations += [NewRelation(EntityRef(name, "class"), EntityRef(other, "class"), "calls") for other in others]
    return entities, relations


async def timed(work: Callable[[T], Awaitable[object]], given: T) -> float:
    """Milliseconds."""
    start = perf_counter()
    await work(given)
    return (perf_counter() - start) * 1000


async def stored_by(
    graph: EntityGraph, entities: Sequence[NewEntity], relations: Sequence[NewRelation], origin: Origin
) -> object:
    return await graph.upsert("w", origin, entities, relations, forget=[origin])


def row(name: str, times: list[float], floor: float) -> str:
    middle, high = statistics.median(times), sorted(times)[int(len(times) * 0.95)]
    return f"{name:42} {middle:8.2f} ms {high:8.2f} ms {middle / floor:8.0f}×"


async def measure(count: int, folder: Path) -> None:
    chance = random.Random(7)
    database = await Database.open(folder / "data" / "sidecar.db", now=NOW)
    graph = EntityGraph(database, lambda workspace: Profile(id=workspace or "w"), lambda: NOW)
    known: list[str] = []
    stored, number, writes = 0, 0, []
    started = perf_counter()
    while stored < count:
        entities, relations = file_of(number, chance, known)
        number += 1
        origin = Origin(Source.CODE, entities[0].name)

        writes.append(await timed(partial(stored_by, graph, entities, relations), origin))
        known += [entity.name for entity in entities[1:]]
        stored += len(entities)
    took = perf_counter() - started
    stats = await graph.stats("w")
    print(f"{stats.entities:,} entities, {stats.relations:,} relations, of {number} files in {took:.1f} s")
    queries = [" ".join(f"how does {chance.choice(known)} settle {named(chance)}".split()) for _ in range(REPEATS)]
    some = [(await graph.search("w", query, limit=8)) for query in queries]
    key = some[0][0].entity.id

    async def one_row(key: str) -> object:
        return await database.read(lambda c: c.exec_driver_sql("SELECT name FROM entities WHERE id = ?", (key,)).one())

    floor = statistics.median([await timed(one_row, key) for _ in range(200)])
    held = _Held([str(n) for n in range(count)], np.random.default_rng(7).normal(size=(count, DIMENSIONS)).astype("f4"))
    asked = np.ones(DIMENSIONS, np.float32)
    hits = [[hit.entity.id for hit in found] for found in some]

    async def search(query: str) -> object:
        return await graph.search("w", query, limit=8)

    async def nearest(_: str) -> object:
        return await asyncio.to_thread(_nearest, held, asked, 8)

    def around(hops: int, limit: int) -> Callable[[list[str]], Awaitable[object]]:
        return lambda ids: graph.neighbours("w", ids, hops=hops, limit=limit)

    lines = [
        row("a row by its key (the floor)", [floor], floor),
        row("a file of 40 symbols stored", writes[-REPEATS:], floor),
        row("search by words, 8 found", [await timed(search, query) for query in queries], floor),
        row("nearest of so many vectors", [await timed(nearest, query) for query in queries], floor),
        row("1 hop around these 8, up to 8", [await timed(around(1, 8), ids) for ids in hits], floor),
        row("2 hops around these 8, up to 8", [await timed(around(2, 8), ids) for ids in hits], floor),
        row("2 hops around these 8, up to 200", [await timed(around(2, 200), ids) for ids in hits], floor),
    ]
    print(f"{'':42} {'median':>11} {'95 %':>11} {'floor':>9}")
    print("\n".join(lines))
    await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given.entities, Path(folder)))


if __name__ == "__main__":
    main()
