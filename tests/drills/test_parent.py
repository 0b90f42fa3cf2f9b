"""The sidecar ends with the program that started it: its standard input closes, its pid goes, it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from tests.drills.processes import Drill, Stream
from tests.drills.test_stop import SLOW, until_each_has_a_token
from tests.fakes.providers import FakeProvider

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pids and signals are POSIX here")

LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen(
    [*sys.argv[1:], "--watch-pid", str(os.getpid())],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
print(child.stdout.readline().decode(), end="", flush=True)
child.wait()
"""
"""Stands for the desktop app: starts the sidecar, passes its ready line on, and lives as long as nobody kills it."""


async def test_closing_standard_input_ends_it_in_order(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        async with drill.running("--exit-with-stdin", stdin=asyncio.subprocess.PIPE) as sidecar:
            provider.always(SLOW)
            stream = Stream()
            asking = asyncio.create_task(sidecar.stream(stream))
            await until_each_has_a_token([stream])
            assert sidecar.process.stdin is not None
            sidecar.process.stdin.write(b"what is written there is not read\n")
            sidecar.process.stdin.close()
            status, seconds, log = await sidecar.end()
            await asking
    print(f"exit {seconds:.2f} s after standard input was closed")
    assert (status, seconds < 5) == (0, True)
    (end,) = stream.ends
    assert (end.name, end.data["code"]) == ("error", "shutting_down")
    assert "Traceback" not in log


async def test_without_the_option_standard_input_means_nothing(tmp_path: Path) -> None:
    async with Drill(tmp_path, "http://127.0.0.1:9").running(warm=False, stdin=asyncio.subprocess.DEVNULL) as sidecar:
        assert (await sidecar.http.get("/health")).status_code == 200


async def test_a_standard_input_that_has_ended_already(tmp_path: Path) -> None:
    process = await Drill(tmp_path, "http://127.0.0.1:9").spawn("--exit-with-stdin", stdin=asyncio.subprocess.DEVNULL)
    _, log = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"Traceback" not in log


async def test_the_end_of_the_watched_process(tmp_path: Path) -> None:
    """Also where nobody has read its exit status yet: a zombie is dead."""
    watched = await asyncio.create_subprocess_exec("sleep", "60")
    async with Drill(tmp_path, "http://127.0.0.1:9").running("--watch-pid", str(watched.pid), warm=False) as sidecar:
        await asyncio.sleep(1.2)
        assert sidecar.process.returncode is None, "the control: it runs while the other does"
        watched.kill()
        status, seconds, log = await sidecar.end()
    print(f"exit {seconds:.2f} s after the watched process was killed")
    await watched.wait()
    assert (status, seconds < 5) == (0, True)
    assert "Traceback" not in log


async def test_a_process_that_is_not_there(tmp_path: Path) -> None:
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    process = await Drill(tmp_path, "http://127.0.0.1:9").spawn("--watch-pid", str(gone.pid))
    _, log = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert f"--watch-pid: there is no process {gone.pid}" in log.decode()


@pytest.mark.parametrize("options", [(), ("--exit-with-stdin",)], ids=["pid", "pid and stdin"])
async def test_a_killed_parent_leaves_nothing_behind(tmp_path: Path, options: tuple[str, ...]) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LAUNCHER, *drill.program, "serve", *options),
        env=drill.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    ready = json.loads(await asyncio.wait_for(parent.stdout.readline(), 30))
    sidecar = psutil.Process(ready["pid"])
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [sidecar], timeout=5)
    assert not alive
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", ready["port"]))
    async with drill.running(warm=False) as again:
        assert (await again.http.get("/health")).status_code == 200
