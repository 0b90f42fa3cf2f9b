"""What `make sidecar` builds, on a machine that has nothing: no Python path, an empty data folder, a fake Ollama."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from pathlib import Path

import psutil
import pytest

from freeze.build import host_triple
from tests.drills.processes import Drill, Stream
from tests.drills.test_parent import LAUNCHER
from tests.fakes.providers import FakeProvider, Reply

NAME = f"llm-sidecar-{host_triple(platform.machine(), sys.platform)}"
BUILD = Path(__file__).resolve().parents[2] / "dist" / NAME / NAME

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="pids and signals are POSIX here"),
    pytest.mark.skipif(not BUILD.exists(), reason="not built: make sidecar"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that finds no Python of ours: what the build needs it must hold."""
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("bare")
async def test_it_answers_and_finds(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url, [str(BUILD)])
        async with drill.running(warm=False) as sidecar:
            provider.always(Reply(("Hello ", "from Ollama")))
            stream = await sidecar.stream(Stream())
            assert "".join(e.data["text"] for e in stream.events if e.name == "token") == "Hello from Ollama"
            (end,) = stream.ends
            assert (end.name, end.data["model"], end.data["ledger"]) == ("done", "ollama/llama3:8b", "stored")
            chunk = {"path": "a.py", "start_line": 1, "text": "def backoff_seconds(): return 5"}
            stored = await sidecar.http.post("/api/v1/chunks", json={"chunks": [chunk]})
            assert stored.status_code == 200, stored.text
            found = await sidecar.http.post("/api/v1/search", json={"query": "backoff seconds"})
            assert [c["path"] for c in found.json()["chunks"]] == ["a.py"]
            parts = (await sidecar.http.get("/api/v1/health")).json()["parts"]
            assert parts["litellm"]["status"] == "ok"
        assert [row["status"] for row in drill.rows()] == ["ok"]


@pytest.mark.usefixtures("bare")
async def test_it_goes_with_its_parent(tmp_path: Path) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9", [str(BUILD)])
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LAUNCHER, *drill.program, "serve", "--exit-with-stdin"),
        env=drill.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    ready = json.loads(await asyncio.wait_for(parent.stdout.readline(), 60))
    sidecar = psutil.Process(ready["pid"])
    parent.kill()
    await parent.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [sidecar], timeout=5)
    assert not alive


@pytest.mark.usefixtures("bare")
async def test_its_command_line(tmp_path: Path) -> None:
    for arguments in (["--version"], ["config", "path"], ["openapi"]):
        drill = Drill(tmp_path, "http://127.0.0.1:9", [str(BUILD)])
        process = await asyncio.create_subprocess_exec(
            *drill.program, *arguments, env=drill.environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, arguments
        assert out.strip()
