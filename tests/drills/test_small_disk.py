"""A file system that is really full: a tmpfs of a few megabytes, mounted for the drill, with the data folder on it.

Where nothing may be mounted the drill is skipped and says so; `test_storage.py` has the form that needs no right.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.processes import Drill
from tests.drills.test_storage import recovered
from tests.fakes.providers import FakeProvider

SIZE = 4 * 1024 * 1024
"""Bytes; a database with a few rows and its WAL take a quarter of it."""
ANSWERS = int(os.environ.get("DRILL_KILLS", "20")) * 2


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    if not sys.platform.startswith("linux"):
        pytest.skip("mounts a tmpfs, which is Linux's")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"may not mount a small file system: {done.stderr.strip()[-100:]}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes what room there is, to the last byte."""
    path = folder / "everything-else"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@pytest.mark.timeout(300)
async def test_a_disk_without_room(tmp_path: Path, small: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url, data=small / "data")
        async with drill.running() as sidecar:
            filler = fill(small)
            assert free(small) == 0
            # The WAL has room inside itself for a while; then nothing can be kept, and answers go on.
            ends = [await sidecar.chat() for _ in range(ANSWERS)]
            while ends[-1].data["ledger"] == "stored" and len(ends) < 20 * ANSWERS:
                ends.append(await sidecar.chat())
            during = await sidecar.ledger_health()
            assert {end.name for end in ends} == {"done"}
            assert ends[-1].data["ledger"] == "queued"
            assert (during["status"], during["lost"]) == ("degraded", 0)
            assert during["waiting"] > 0
            assert "disk" in f"{during['reason']} {during['remedy']}"
            filler.unlink()
            await recovered(sidecar)
            ends.append(await sidecar.chat())
            assert ends[-1].data["ledger"] == "stored"
            assert (await sidecar.ledger_health())["status"] == "ok"
            print(f"no room: {len(ends) - 1} answers, {during['waiting']} rows waited, none lost")
        assert [row["status"] for row in drill.rows()] == ["ok"] * (len(ends) + 1)
        assert drill.integrity() == "ok"


@pytest.mark.timeout(300)
async def test_killed_while_the_disk_has_no_room(tmp_path: Path, small: Path) -> None:
    """What waited in memory is gone with the process; the file is whole, and the next start says so or works."""
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url, data=small / "data")
        async with drill.running() as sidecar:
            filler = fill(small)
            for _ in range(ANSWERS):
                await sidecar.chat()
            sidecar.process.kill()
            await sidecar.end()
        process = await drill.spawn()
        assert process.stdout is not None
        started = await process.stdout.readline()
        if started:
            process.terminate()
        _, log = await process.communicate()
        assert b"Traceback" not in log
        assert process.returncode == (0 if started else 6), log.decode()
        filler.unlink()
        async with drill.running() as sidecar:
            assert (await sidecar.ledger_health())["status"] == "ok"
        assert drill.integrity() == "ok"
        assert {row["status"] for row in drill.rows()} <= {"ok", "interrupted"}
        assert len(drill.rows()) >= 2
