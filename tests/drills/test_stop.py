"""How a sidecar ends: told to, told twice, told before it is ready, with answers on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.drills.processes import Drill, Stream
from tests.fakes.providers import FakeProvider, Reply

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
STREAMS = 20
SLOW = Reply(("word ",) * 2000, delay=0.02)


async def until_each_has_a_token(streams: list[Stream]) -> None:
    async with asyncio.timeout(15):
        while not all("event: token" in stream.text for stream in streams):  # noqa: ASYNC110 (bytes that arrive)
            await asyncio.sleep(0.02)


async def test_sigterm_with_20_streams(tmp_path: Path) -> None:
    async with FakeProvider() as provider, (drill := Drill(tmp_path, provider.url)).running() as sidecar:
        provider.always(SLOW)
        streams = [Stream() for _ in range(STREAMS)]
        tasks = [asyncio.create_task(sidecar.stream(stream)) for stream in streams]
        await until_each_has_a_token(streams)
        sidecar.process.send_signal(signal.SIGTERM)
        status, seconds, log = await sidecar.end()
        await asyncio.gather(*tasks)
    print(f"{STREAMS} streams: exit after {seconds:.2f} s")
    assert status == 0
    assert seconds < 5
    for stream in streams:
        (end,) = stream.ends
        assert (end.name, end.data["code"]) == ("error", "shutting_down")
        delivered = sum(len(e.data["text"]) for e in stream.events if e.name == "token")
        assert end.data["delivered_characters"] == delivered > 0
        assert not stream.broken
    rows = drill.rows()
    assert len(rows) == 1 + STREAMS
    assert {row["status"] for row in rows if row["request_id"] in {s.request_id for s in streams}} == {"cancelled"}
    assert all(row["settled_at"] and row["output_tokens"] > 0 for row in rows)
    assert "Traceback" not in log
    assert not (drill.data / "sidecar.db-attempts").exists()
    assert (drill.data / "sidecar.db.clean").exists()


async def test_a_second_sigterm_waits_for_nobody(tmp_path: Path) -> None:
    async with FakeProvider() as provider, (drill := Drill(tmp_path, provider.url)).running() as sidecar:
        provider.always(SLOW)
        streams = [Stream() for _ in range(4)]
        tasks = [asyncio.create_task(sidecar.stream(stream)) for stream in streams]
        await until_each_has_a_token(streams)
        sidecar.process.send_signal(signal.SIGTERM)
        sidecar.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.05)
        sidecar.process.send_signal(signal.SIGTERM)
        status, seconds, log = await sidecar.end()
        await asyncio.gather(*tasks)
    assert status == 0
    assert seconds < 3
    assert "Traceback" not in log
    assert {row["status"] for row in drill.rows()} == {"ok", "cancelled"}


@pytest.mark.parametrize("after", [0.1, 0.6])
async def test_sigterm_while_it_starts(tmp_path: Path, after: float) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    process = await drill.spawn()
    began = time.monotonic()
    # Sooner the interpreter itself is still starting, and the signal ends it as it ends any program.
    while not (drill.data / "sidecar.lock").exists():
        await asyncio.sleep(0.005)
        assert time.monotonic() < began + 15
    await asyncio.sleep(after)
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    _, log = await asyncio.wait_for(process.communicate(), 15)
    assert time.monotonic() - told < 5
    assert process.returncode == 0
    assert b"Traceback" not in log
    # Whatever it had begun on the folder is whole.
    if drill.database.exists():
        assert drill.integrity() == "ok"
    assert not drill.database.with_name("sidecar.db-wal").exists()
