"""Agents whose process is killed at any moment, or stopped for hours of their schedule."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.agents import HandClock, ScriptedAgent, open_agent_service

AGENTS = 5
RUNS = int(os.environ.get("DRILL_RUNS", "25"))
"""Runs that begin before the drill is over; a hundred in the long form."""


def said(folder: Path) -> list[list[str]]:
    path = folder / "said"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def child(folder: Path, grace: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said it is ready."""
    before = sum(line == ["ready"] for line in said(folder))
    arguments = [sys.executable, "-m", "tests.drills.agents_child", str(folder), str(AGENTS), str(grace)]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while sum(line == ["ready"] for line in said(folder)) <= before:
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline, "it never got ready"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def rows(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "data" / "sidecar.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM agent_runs ORDER BY scheduled_at")]


def kill_until(folder: Path, runs: int) -> int:
    """Start and kill until so many runs have begun; returns how many kills that took."""
    rng = random.Random(6)
    kills = 0
    while sum(line[0] == "begin" for line in said(folder)) < runs:
        with child(folder, grace=3600.0) as process:
            time.sleep(rng.uniform(0.3, 2.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
        kills += 1
    return kills


@pytest.mark.timeout(300)
async def test_killed_at_any_moment_no_run_is_made_twice_and_none_is_stuck(tmp_path: Path) -> None:
    assert kill_until(tmp_path, RUNS) >= 2
    entries = [{"name": f"a{n}"} for n in range(AGENTS)]
    agents = [ScriptedAgent(name=f"a{n}") for n in range(AGENTS)]
    async with open_agent_service(tmp_path, agents, entries, HandClock()):
        pass  # a last start, which looks after what the last kill left
    found = {row["id"]: row for row in rows(tmp_path)}
    begun = [line for line in said(tmp_path) if line[0] == "begin"]
    assert max(Counter(run for *_, run in begun).values()) == 1, "a run was made twice"
    assert max(Counter((agent, due) for _, agent, due, _ in begun).values()) == 1, "a due time was met twice"
    assert {row["state"] for row in found.values()} <= {"ok", "interrupted", "missed", "skipped"}
    for _, run, state in (line for line in said(tmp_path) if line[0] == "over"):
        assert found[run]["state"] == state == "ok", "what was said to be over is on disk"
    for *_, run in begun:
        assert found[run]["state"] in ("ok", "interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops no process")
def test_stopped_for_a_while_one_run_is_made_up_for_and_the_rest_is_missed(tmp_path: Path) -> None:
    with child(tmp_path, grace=3600.0) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGSTOP)
        stopped = time.time()
        time.sleep(6.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(3.0)
    states: dict[str, Counter[str]] = {}
    for row in rows(tmp_path):
        due = time.mktime(time.strptime(row["scheduled_at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        if stopped + 1 <= due <= stopped + 5:
            states.setdefault(row["agent"], Counter())[row["state"]] += 1
    assert len(states) == AGENTS
    for counted in states.values():
        assert set(counted) == {"missed"}, "the last one of the gap is made up for, these are not"
        assert counted["missed"] >= 3
