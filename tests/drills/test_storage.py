"""The database under a running sidecar: killed over, locked, out of room, damaged. No answer may suffer by it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.drills.processes import Drill, Running, Stream
from tests.fakes.providers import FakeProvider, Reply

if sys.platform == "win32":
    pytest.skip("needs signals and RLIMIT_FSIZE", allow_module_level=True)

import resource

KILLS = int(os.environ.get("DRILL_KILLS", "3"))
LOCKED_SECONDS = float(os.environ.get("DRILL_LOCK_SECONDS", "3"))
CLIENTS = 12


async def ask_until_it_dies(sidecar: Running, streams: list[Stream]) -> None:
    while not streams or not streams[-1].broken:
        streams.append(Stream())
        await sidecar.stream(streams[-1])


@pytest.mark.timeout(60 + 40 * KILLS)
async def test_kill_9_under_load_loses_no_row_whose_done_was_read(tmp_path: Path) -> None:
    streams: list[list[Stream]] = []
    called = 0
    chance = random.Random(20261124)
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        provider.always(Reply(("a ",) * 5, delay=0.002))
        for _ in range(KILLS):
            async with drill.running() as sidecar:
                clients: list[list[Stream]] = [[] for _ in range(CLIENTS)]
                tasks = [asyncio.create_task(ask_until_it_dies(sidecar, mine)) for mine in clients]
                await asyncio.sleep(chance.uniform(0.1, 0.4))
                sidecar.process.kill()
                await asyncio.gather(*tasks)
                streams += clients
                called += len(provider.chats)
                provider.requests.clear()
        async with drill.running(warm=False) as sidecar:
            assert (await sidecar.ledger_health())["notices"] == []
    finished = [s for mine in streams for s in mine if [e.name for e in s.ends] == ["done"]]
    cut = [s for mine in streams for s in mine if s.request_id and not s.ends]
    print(f"{KILLS} kills: {len(finished)} answers finished, {len(cut)} cut")
    assert len(finished) > KILLS
    assert cut
    assert drill.integrity() == "ok"
    found = {row["request_id"]: row["status"] for row in drill.rows()}
    assert {found.get(s.request_id or "") for s in finished} == {"ok"}
    # Cut between the model's end and the row on disk is either, and never left pending. Whoever has read but the route
    # and the context may have been cut before any model was asked: then there is nothing to account for.
    asked = [s for s in cut if any(e.name == "token" for e in s.events)]
    assert {found.get(s.request_id or "", "missing") for s in asked} <= {"ok", "interrupted"}
    assert "pending" not in found.values()
    unasked = [s for s in cut if s not in asked and (s.request_id or "") not in found]
    print(f"{called} calls reached the model, {len(found)} rows; {len(unasked)} were cut before they were sent")
    assert len(found) >= called, "every call that went out has its row"


@pytest.mark.timeout(60 + 2 * LOCKED_SECONDS)
async def test_locked_by_another_program(tmp_path: Path) -> None:
    async with FakeProvider() as provider, (drill := Drill(tmp_path, provider.url)).running() as sidecar:
        slowest, ends = 0.0, []
        with closing(sqlite3.connect(drill.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked = time.monotonic()
            while time.monotonic() < locked + LOCKED_SECONDS:
                began = time.monotonic()
                await sidecar.http.get("/health")
                slowest = max(slowest, time.monotonic() - began)
                ends.append(await sidecar.chat())
            during = await sidecar.ledger_health()
            usage = await sidecar.http.get("/api/v1/usage")
            other.execute("ROLLBACK")
        told = f"{len(ends)} answers, slowest /health {slowest * 1000:.0f} ms, {during['waiting']} waiting"
        print(f"locked {LOCKED_SECONDS:g} s: {told}")
        assert {(end.name, end.data["ledger"]) for end in ends} == {("done", "queued")}
        assert during["status"] == "degraded"
        assert during["waiting"] == len(ends)
        assert during["lost"] == 0
        assert usage.status_code == 200
        assert slowest < 0.5
        await recovered(sidecar)
        assert (await sidecar.chat()).data["ledger"] == "stored"
    assert [row["status"] for row in drill.rows()] == ["ok"] * (len(ends) + 2)


async def recovered(sidecar: Running) -> None:
    async with asyncio.timeout(10):
        while (await sidecar.ledger_health())["waiting"]:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)


async def test_told_to_stop_while_locked_it_ends_in_time_and_says_what_is_lost(tmp_path: Path) -> None:
    async with FakeProvider() as provider, (drill := Drill(tmp_path, provider.url)).running() as sidecar:
        with closing(sqlite3.connect(drill.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await sidecar.chat()).data["ledger"] == "queued"
            sidecar.process.terminate()
            status, seconds, log = await sidecar.end()
            other.execute("ROLLBACK")
        print(f"stopped while locked: exit after {seconds:.2f} s")
        assert status == 0
        assert seconds < 5
        assert "1 rows that could not be written" in log
    # The next start finds the attempt's note.
    async with drill.running(warm=False):
        assert [row["status"] for row in drill.rows()] == ["ok", "interrupted"]


async def test_a_full_disk(tmp_path: Path) -> None:
    async with FakeProvider() as provider, (drill := Drill(tmp_path, provider.url)).running() as sidecar:
        pid = sidecar.process.pid
        # No file may grow: what a full disk does to whoever writes.
        old = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        ends = [await sidecar.chat() for _ in range(40)]
        during = await sidecar.ledger_health()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
        assert {end.name for end in ends} == {"done"}
        assert ends[-1].data["ledger"] == "queued"
        assert during["status"] == "degraded"
        assert during["lost"] == 0
        await recovered(sidecar)
        assert (await sidecar.chat()).data["ledger"] == "stored"
        assert (await sidecar.ledger_health())["status"] == "ok"
    assert [row["status"] for row in drill.rows()] == ["ok"] * 42


async def test_no_room_to_start(tmp_path: Path) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    process = await drill.spawn()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
    _, log = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 6
    assert b"sidecar.db" in log
    assert b"Traceback" not in log


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    drill.data.mkdir()
    (drill.data / "sidecar.db").mkdir()  # like a folder without permission, and also for root
    process = await drill.spawn()
    _, log = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 6
    assert b"sidecar.db" in log
    assert b"Traceback" not in log


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_folder(tmp_path: Path) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    drill.data.mkdir(mode=0o500)
    process = await drill.spawn()
    _, log = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode not in (0, None)
    assert str(drill.data).encode() in log
    assert b"Traceback" not in log


def flip_bytes(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + 64] = bytes(byte ^ 0xFF for byte in content[offset : offset + 64])
    path.write_bytes(content)


async def test_damage_found_at_start_is_set_aside_and_told(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        async with drill.running() as sidecar:
            await sidecar.chat()
            sidecar.process.terminate()
            await sidecar.end()
        drill.database.with_name("sidecar.db.clean").unlink()  # as after a crash
        flip_bytes(drill.database, 4096)
        async with drill.running() as sidecar:
            notices = (await sidecar.ledger_health())["notices"]
            assert (await sidecar.chat()).data["ledger"] == "stored"
    assert "set aside" in notices[0]
    assert len(list(drill.data.glob("sidecar.db.broken-*"))) == 1
    assert drill.integrity() == "ok"


async def test_harm_to_the_files_beside_it(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        async with drill.running() as sidecar:
            await sidecar.chat()
            sidecar.process.kill()
            await sidecar.end()
        killed = tmp_path / "killed"
        drill.data.rename(killed)
        for harm in (without_shm, cut_wal, flipped_wal):
            shutil.copytree(killed, drill.data)
            harm(drill.database)
            async with drill.running(warm=False) as sidecar:
                assert (await sidecar.ledger_health())["status"] == "ok"
                statuses = [row["status"] for row in drill.rows()]
            assert drill.integrity() == "ok"
            # What the harm took from the end of the WAL, the attempts' notes give back as interrupted.
            assert set(statuses) <= ({"ok"} if harm is without_shm else {"ok", "interrupted"}), harm
            assert len(statuses) == 2, harm
            shutil.rmtree(drill.data)


def without_shm(database: Path) -> None:
    database.with_name("sidecar.db-shm").unlink()


def cut_wal(database: Path) -> None:
    wal = database.with_name("sidecar.db-wal")
    os.truncate(wal, wal.stat().st_size - 100)


def flipped_wal(database: Path) -> None:
    wal = database.with_name("sidecar.db-wal")
    flip_bytes(wal, wal.stat().st_size // 2)
