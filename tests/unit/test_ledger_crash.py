"""The ledger in a process of its own: killed, and with its disk full."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.store.database import Database
from app.usage.ledger import UsageLedger
from app.usage.reconcile import verify
from tests.unit.ledger_rows import NOW

KILLS = 10


def killed_run(path: Path, seconds: float) -> tuple[set[str], set[str]]:
    """Start a writer, kill it, and return the ids it said were begun and stored."""
    command = [sys.executable, "-m", "tests.unit.ledger_child", "write", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # the first row: it is writing now
        time.sleep(seconds)
        process.kill()
        lines += process.stdout.readlines()
    said: dict[str, set[str]] = {"begun": set(), "stored": set()}
    for word, id in (line.split() for line in lines if line.endswith("\n")):
        said[word].add(id)
    return said["begun"], said["stored"]


async def test_every_acknowledged_row_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.db"
    begun: set[str] = set()
    stored: set[str] = set()
    chance = random.Random(20261124)
    for _ in range(KILLS):
        now_begun, now_stored = killed_run(path, chance.uniform(0.0, 0.08))
        begun |= now_begun
        stored |= now_stored
    assert len(stored) > KILLS
    database = await Database.open(path, now=NOW)
    ledger = await UsageLedger.open(database, now=NOW)
    assert database.notices == ()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = dict(connection.execute("SELECT id, status FROM llm_usage_log").fetchall())
        receipts = {id for (id,) in connection.execute("SELECT request_id FROM request_receipts")}
    assert {found.get(id) for id in stored} == {"ok"}
    assert {f"request-{id}" for id in stored} <= receipts
    # What had begun is there too: settled, or interrupted; never missing.
    assert begun - found.keys() == set()
    assert {found[id] for id in begun} <= {"ok", "interrupted"}
    verified = await verify(database)
    assert (verified.rows, verified.different) == (len(found), 0)
    await ledger.close()
    await database.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_fails_no_answer_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.db"
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.ledger_child", "full", str(path)], capture_output=True, text=True, check=True
    )
    report = json.loads(run.stdout)
    assert report["stored"] > 0
    assert report["waiting"] > 0
    assert report["lost"] == 400 - report["stored"] - report["waiting"]
    assert report["error"]
    assert report["notices"] == []
    assert report["closed"] is True
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count = connection.execute("SELECT count(*) FROM llm_usage_log WHERE status = 'ok'").fetchone()[0]
    assert count == 400 - report["lost"]
