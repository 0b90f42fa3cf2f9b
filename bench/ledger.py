"""What the ledger costs: CPU and wait per request, rows per second, bytes per row, beside raw sqlite3.

    python -m bench.ledger [--rows 5000] [--folder DIR]

A request is one `begin` and one awaited `settle` with a receipt, on a real file with every commit on the disk. CPU is
the whole process's (loop, writer's thread, kernel). The floor writes the same rows with the sqlite3 module in one
thread: two commits a request, the second one synced, with no loop, no hand-over and no waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from app.store.database import Database
from app.usage.ledger import UsageLedger
from app.usage.records import AttemptEnd, AttemptStart, CostSource, Receipt, Status
from app.usage.rows import Entry, statements

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
BLOCK = {"id": "history:1", "kind": "history", "priority": 2, "tokens": 120, "outcome": "kept", "reason": "fits"}
FACTS = {"task_type": "chat", "workspace": "personal", "contains_code": False, "input_tokens": 1200, "hour": 9}
ROUTE = {
    "rule": "default",
    "candidates": [{"model": "ollama/llama3:8b", "origin": "rule"}],
    "reasons": ["rule default"],
}


@dataclass
class Measured:
    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Measured]:
    result = Measured()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    yield result
    after = resource.getrusage(resource.RUSAGE_SELF)
    result.wall = time.perf_counter() - began
    result.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start() -> AttemptStart:
    return AttemptStart(
        id=str(uuid4()),
        request_id=str(uuid4()),
        attempt=1,
        workspace_profile_id="personal",
        session_id=None,
        agent=None,
        task_type="chat",
        rule="default",
        provider="ollama",
        model="ollama/llama3:8b",
        location="loopback",
        created_at=NOW,
    )


def end() -> AttemptEnd:
    return AttemptEnd(
        status=Status.OK,
        settled_at=NOW,
        latency_ms=840,
        input_tokens=1200,
        output_tokens=300,
        cost_micro_usd=0,
        cost_source=CostSource.COMPUTED,
        time_to_first_token_ms=120,
    )


def receipt(request_id: str) -> Receipt:
    return Receipt(request_id, FACTS, ROUTE, {"window": 8192, "input_tokens": 1200, "blocks": [BLOCK] * 8})


async def through_ledger(folder: Path, rows: int, streams: int) -> Measured:
    database = await Database.open(folder / f"ledger-{streams}.db", now=NOW)
    ledger = await UsageLedger.open(database, now=NOW)

    async def stream(count: int) -> None:
        for _ in range(count):
            begun = start()
            ledger.begin(begun)
            await asyncio.sleep(0.002 if streams == 1 else 0)
            assert await ledger.settle(begun.id, end(), receipt(begun.request_id)) == "stored"

    await stream(20)
    with measured() as result:
        await asyncio.gather(*(stream(rows // streams) for _ in range(streams)))
    await ledger.close()
    await database.close()
    return result


async def loop_alone(rows: int) -> Measured:
    """What the sleeps of the one-stream run cost by themselves."""
    with measured() as result:
        for _ in range(rows):
            start(), end()
            await asyncio.sleep(0.002)
    return result


def raw(folder: Path, rows: int) -> Measured:
    """The ledger's own statements and rows, through sqlite3 alone; without the roll-ups."""

    async def prepare() -> None:
        await (await Database.open(folder / "raw.db", now=NOW)).close()

    asyncio.run(prepare())
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)

    def write(entry: Entry) -> None:
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if entry.end is None else 'FULL'}")
        connection.execute("BEGIN IMMEDIATE")
        for sql, values in statements([entry]):
            connection.executemany(sql, values)
        connection.execute("COMMIT")

    with measured() as result:
        for _ in range(rows):
            begun = start()
            write(Entry(begun))
            write(Entry(begun, end(), receipt(begun.request_id)))
    connection.close()
    return result


def main(print: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(description="What the ledger costs.")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=None, help="where to put the files; default: a temporary one")
    arguments = parser.parse_args()
    print(f"{'':24}{'CPU µs/request':>16}{'wall ms/request':>17}{'rows/s':>9}")

    def row(name: str, result: Measured, rows: int, minus: Measured | None = None) -> None:
        cpu = (result.cpu - (minus.cpu if minus else 0)) / rows * 1e6
        wall = (result.wall - (minus.wall if minus else 0)) / rows * 1e3
        print(f"{name:24}{cpu:16.0f}{wall:17.2f}{rows / result.wall:9.0f}")

    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        few = min(arguments.rows, 1000)
        row("raw sqlite3, in turn", raw(folder, few), few)
        row("ledger, 1 stream", asyncio.run(through_ledger(folder, few, 1)), few, asyncio.run(loop_alone(few)))
        for streams in (16, 64, 256):
            row(
                f"ledger, {streams} streams",
                asyncio.run(through_ledger(folder, arguments.rows, streams)),
                arguments.rows,
            )
        size = (folder / "ledger-256.db").stat().st_size
        print(f"\n{size / arguments.rows:.0f} bytes a row, indexes and receipt included")


if __name__ == "__main__":
    main()
