"""How long reports over a large ledger take, and how large it is.

    python -m bench.usage_reports [--rows 1000000] [--days 365] [--folder DIR]

The rows are written with plain SQL: a year of one heavy user, most of it in the day's working hours, four workspaces,
ten task types, nine models that the rules choose by task, agents at night. Each report is asked for `--repeats` times
through `UsageReports`, on its reader's thread, with the file in the cache: `first` by one that has not been asked
before, and keeps nothing yet of days that are over; the others by one that has. CPU is the whole process's; `JSON` is
what the interface's answer takes to write. The floor, in the same run, is what SQLite needs to add up one column of the
rows.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from app.api.usage import usage_data
from app.store.database import Database
from app.store.tables import to_text
from app.usage.ledger import UsageLedger
from app.usage.queries import UsageQuery, parse_query
from app.usage.reports import UsageReports

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
COLUMNS = (
    "id", "request_id", "attempt", "workspace_profile_id", "session_id", "agent", "task_type", "rule", "provider",
    "model", "location", "status", "input_tokens", "cached_input_tokens", "output_tokens", "cost_micro_usd",
    "cost_source", "latency_ms", "time_to_first_token_ms", "success", "created_at", "settled_at",
)  # fmt: skip
CLOUD = ("claude-sonnet-4-5", "claude-haiku-4-5", "gpt-4o", "gpt-4o-mini", "gemini-2.5-pro")
LOCAL = ("ollama/llama3:8b", "ollama/codellama:13b", "ollama/qwen3:8b", "ollama/llama3:70b")
TASKS = (
    "chat", "completion", "debugging", "refactoring", "architecture", "summarization", "session_capture",
    "entity_extraction", "research", "creative",
)  # fmt: skip
WORKSPACES = ("personal", "work", "thesis", "side-project")
REPORTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("totals, 30 days", {"days": 30}),
    ("totals, all", {}),
    ("model, all", {"group_by": "model"}),
    ("task_type, all", {"group_by": "task_type"}),
    ("model,task_type, all", {"group_by": "model,task_type"}),
    ("day, 30 days, Berlin", {"days": 30, "group_by": "day"}),
    ("day, all, UTC", {"group_by": "day", "tz": "UTC"}),
    ("day, all, Berlin", {"group_by": "day"}),
    ("day, all, Los Angeles", {"group_by": "day", "tz": "America/Los_Angeles"}),
    ("day, all, Kathmandu", {"group_by": "day", "tz": "Asia/Kathmandu"}),
    ("day,model, 30 days", {"days": 30, "group_by": "day,model"}),
    ("day,model, all", {"group_by": "day,model"}),
    ("week,workspace, all", {"group_by": "week,workspace"}),
    ("month,model, all", {"group_by": "month,model"}),
    ("hour, 7 days", {"days": 7, "group_by": "hour"}),
    ("hour,model, 7 days", {"days": 7, "group_by": "hour,model"}),
    ("hour, 30 days", {"days": 30, "group_by": "hour"}),
    ("hour, all", {"group_by": "hour"}),
    ("model, all, one workspace", {"group_by": "model", "workspace": "work"}),
    ("model, 90 days and 7 minutes", {"days": 90.005, "group_by": "model"}),
    ("session, 1 day", {"days": 1, "group_by": "session"}),
    ("session, 7 days", {"days": 7, "group_by": "session"}),
    ("session,model, 30 days", {"days": 30, "group_by": "session,model"}),
    ("session, all", {"group_by": "session"}),
    ("model, one session", {"group_by": "model", "session": "s100"}),
)


def rows(count: int, days: int) -> Iterator[tuple[Any, ...]]:
    chance = random.Random(5)
    began = NOW - timedelta(days=days)
    night = [1.0] * 7 + [12.0] * 12 + [4.0] * 5
    hours = sorted(chance.choices(range(24), night, k=count))
    order = sorted((chance.randrange(days), hour, chance.random()) for hour in hours)
    session = 0
    for number, (day, hour, share) in enumerate(order):
        created = began.replace(hour=0, minute=0) + timedelta(days=day, hours=hour + share)
        agent = chance.choice(("digest", "research", None)) if hour < 7 else None
        task = chance.choices(TASKS, (30, 25, 10, 6, 3, 8, 8, 5, 3, 2))[0]
        place = TASKS.index(task)
        model = CLOUD[place % 5] if chance.random() < 0.4 else LOCAL[place % 4]
        session += chance.random() < 0.05
        status = "ok" if chance.random() < 0.96 else chance.choice(("error", "cancelled"))
        into, out = chance.randrange(200, 12_000), chance.randrange(20, 1500)
        first = round(chance.lognormvariate(6, 0.6))
        yield (
            f"{number:032x}", f"r{number:031x}", 1, chance.choices(WORKSPACES, (5, 4, 2, 1))[0],
            None if agent else f"s{session}", agent, task, "cloud" if model in CLOUD else "default",
            model.partition("/")[0], model, "cloud" if model in CLOUD else "loopback", status, into, into // 3, out,
            into * 3 + out * 15 if model in CLOUD else 0, chance.choice(("computed", "estimated")),
            first + out * 20, first, status == "ok", to_text(created), to_text(created + timedelta(seconds=3)),
        )  # fmt: skip


async def fill(path: Path, count: int, days: int) -> tuple[float, float]:
    """Seconds for the rows as plain inserts, and for their roll-ups afterwards."""
    await (await Database.open(path, now=NOW)).close()
    began = time.perf_counter()
    connection = sqlite3.connect(path)
    connection.executemany(
        f"INSERT INTO llm_usage_log ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})", rows(count, days)
    )
    connection.commit()
    connection.close()
    written = time.perf_counter() - began
    database = await Database.open(path, now=NOW)
    began = time.perf_counter()
    await (await UsageLedger.open(database, now=NOW)).close()
    await database.close()
    return written, time.perf_counter() - began


async def measure(path: Path, print: Callable[[str], object], repeats: int) -> None:
    database = await Database.open(path, now=NOW)
    reports = UsageReports(database)
    print(f"{'report':32}{'groups':>8}{'first CPU':>11}{'CPU ms':>9}{'p50 ms':>9}{'p95 ms':>9}{'JSON CPU':>10}")
    for name, asked in REPORTS:
        options: dict[str, Any] = {"tz": "Europe/Berlin", "days": 366, "group_by": None} | asked
        days, tz, group_by = options.pop("days"), options.pop("tz"), options.pop("group_by")
        start = (NOW - timedelta(days=days)).isoformat()
        query = parse_query(start=start, end=None, tz=tz, group_by=group_by, filters=options, now=NOW)
        few = 3 if "session, all" in name else repeats
        first = [await _timed(UsageReports(database), query) for _ in range(min(few, 7))]
        await reports.report(query)
        found = [await _timed(reports, query) for _ in range(few)]
        times = sorted(wall for wall, _ in found)
        report, written = await reports.report(query), []
        for _ in range(min(few, 5)):
            spent = time.process_time()
            orjson.dumps(usage_data(report, ()))
            written.append((time.process_time() - spent) * 1e3)
        print(
            f"{name:32}{len(report.rows):8}{median(cpu for _, cpu in first):11.1f}"
            f"{median(cpu for _, cpu in found):9.1f}{median(times):9.1f}{times[int(len(times) * 0.95)]:9.1f}"
            f"{median(written):10.1f}"
        )
    await database.close()


async def _timed(reports: UsageReports, query: UsageQuery) -> tuple[float, float]:
    """Milliseconds of the wall and of CPU."""
    began, spent = time.perf_counter(), time.process_time()
    await reports.report(query)
    return (time.perf_counter() - began) * 1e3, (time.process_time() - spent) * 1e3


def sizes(path: Path, count: int, print: Callable[[str], object]) -> None:
    connection = sqlite3.connect(path)
    began = time.perf_counter()
    spent = time.process_time()
    connection.execute("SELECT COUNT(*), SUM(cost_micro_usd) FROM llm_usage_log").fetchone()
    cpu, wall = time.process_time() - spent, time.perf_counter() - began
    print(f"\na plain sum over all rows: {cpu * 1e3:.0f} ms CPU, {wall * 1e3:.0f} ms")
    for level, buckets in connection.execute("SELECT level, COUNT(*) FROM usage_rollups GROUP BY level"):
        print(f"roll-up of {level} s: {buckets} rows")
    try:
        names = ("llm_usage_log", "usage_rollups")
        for name in names:
            (size,) = connection.execute("SELECT SUM(pgsize) FROM dbstat WHERE name = ?", (name,)).fetchone()
            print(f"{name}: {size / count:.0f} bytes a row of the ledger")
    except sqlite3.OperationalError:
        pass  # an SQLite without dbstat
    print(f"the whole file: {path.stat().st_size / count:.0f} bytes a row, without receipts")
    connection.close()


def main(print: Callable[[str], object] = print) -> None:
    parser = argparse.ArgumentParser(description="How long reports over a large ledger take.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--folder", type=Path, default=None, help="keeps the file there; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = (arguments.folder or Path(name)) / "sidecar.db"
        if not path.exists():
            written, rolled = asyncio.run(fill(path, arguments.rows, arguments.days))
            print(f"{arguments.rows} rows in {written:.0f} s, their roll-ups built in {rolled:.0f} s\n")
        asyncio.run(measure(path, print, arguments.repeats))
        sizes(path, arguments.rows, print)


if __name__ == "__main__":
    main()
