"""The image that `make image` builds, run as docs/guide/docker.md says: nobody's root, a root that cannot be written.

Skipped where there is no container engine that can run it, or no such image. `CONTAINER_ENGINE` names another engine
than the first of docker and podman, `IMAGE` another image.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.drills.processes import MODEL, Stream
from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import write_config

IMAGE = os.environ.get("IMAGE", "llm-sidecar")


def found() -> tuple[str, dict[str, Any]] | None:
    """An engine that has the image and can run it, and what it says of it."""
    wanted = os.environ.get("CONTAINER_ENGINE")
    for engine in filter(None, [wanted] if wanted else map(shutil.which, ("docker", "podman"))):
        try:
            done = subprocess.run([engine, "image", "inspect", IMAGE], capture_output=True, timeout=30, check=True)
            trial = [engine, "run", "--rm", "--network", "none", "--entrypoint", "true", IMAGE]
            subprocess.run(trial, capture_output=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        if images := json.loads(done.stdout):
            return engine, images[0]
    return None


ENGINE, ABOUT = found() or ("", {})
pytestmark = [
    pytest.mark.skipif(not ENGINE, reason="no container engine that runs, or not built: make image"),
    pytest.mark.timeout(300),
]


def health_check() -> list[str]:
    """The command of the image's health check; Podman shows it in another place."""
    check = ABOUT["Config"].get("Healthcheck") or ABOUT.get("Healthcheck") or {}
    kind, *command = check.get("Test") or ["none: podman builds with --format docker"]
    assert kind == "CMD", kind
    return command


async def engine(*arguments: str, check: bool = True) -> tuple[int, str]:
    """Exit status and standard output. Raises AssertionError with what it complained of, unless told not to `check`."""
    process = await asyncio.create_subprocess_exec(
        *(ENGINE, *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, complaint = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0 or not check, complaint.decode()
    return process.returncode or 0, out.decode()


@dataclass(frozen=True)
class Container:
    name: str
    url: str

    async def inside(self, *command: str, check: bool = True) -> tuple[int, str]:
        return await engine("exec", self.name, *command, check=check)

    async def ready(self) -> None:
        """Return once it answers. Raises AssertionError with its log where it ends instead."""
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(600):
                try:
                    if (await http.get(f"{self.url}/health")).json()["status"] == "ok":
                        return
                except (httpx.TransportError, ValueError):
                    pass
                _, running = await engine("inspect", "--format", "{{.State.Running}}", self.name)
                if running.strip() != "true":
                    break
                await asyncio.sleep(0.2)
        raise AssertionError(await engine("logs", self.name))

    async def client(self) -> httpx.AsyncClient:
        _, token = await self.inside("llm-sidecar", "token")
        headers = {"Authorization": f"Bearer {token.strip()}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    async def stop(self) -> int:
        """What `docker stop` does; the program's exit status."""
        await engine("stop", self.name)
        _, status = await engine("inspect", "--format", "{{.State.ExitCode}}", self.name)
        return int(status)


def readable(folder: Path) -> None:
    """By everybody: who runs inside is nobody here."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


@asynccontextmanager
async def container(*options: str) -> AsyncIterator[Container]:
    """One on the host's network, so that a model server on loopback is within reach, with a volume of its own."""
    name = f"llm-sidecar-test-{secrets.token_hex(4)}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Podman mounts a writable /tmp into a read-only root unless it is told not to; Docker does not.
    podman = "podman" in (await engine("--version"))[1]
    address = ("--env", "SIDECAR_HOST=127.0.0.1", "--env", f"SIDECAR_PORT={port}")
    run = ("run", "--detach", "--name", name, "--network", "host", "--read-only", "--volume", f"{name}:/data")
    try:
        await engine(*run, *(["--read-only-tmpfs=false"] if podman else []), *address, *options, IMAGE)
        made = Container(name, f"http://127.0.0.1:{port}")
        await made.ready()
        yield made
    finally:
        await engine("rm", "--force", name, check=False)
        await engine("volume", "rm", name, check=False)


def test_what_the_image_says_of_itself() -> None:
    config = ABOUT["Config"]
    assert config["User"] == "10001:10001"
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["8765/tcp"]
    assert config["Labels"]["org.opencontainers.image.title"] == "llm-sidecar"
    assert health_check()
    assert not [entry for entry in config["Env"] if "TOKEN" in entry or "KEY=" in entry]


async def test_only_the_volume_can_be_written_and_nobody_is_root() -> None:
    async with container() as made:
        assert (await made.inside("id", "-u"))[1].strip() == "10001"
        for path in ("/x", "/tmp/x", "/opt/llm-sidecar/x", "/opt/llm-sidecar/cache/llm-sidecar/models/x"):
            assert (await made.inside("touch", path, check=False))[0] != 0, path
        _, modes = await made.inside("find", "/data", "-printf", "%M %u %p\n")
        for line in modes.splitlines():
            assert line[4:10] == "------", line
            assert line.split()[1] == "sidecar", line
        assert "/data/config/llm-sidecar/models.yaml" in modes
        assert (await made.inside(*health_check(), check=False))[0] == 0
        _, said = await made.inside("llm-sidecar", "chat", "--model", "builtin/extractive", "What lies in the volume?")
        assert said.strip()


async def test_the_embedding_model_is_inside() -> None:
    async with container() as made, await made.client() as http:
        answer = await http.post("/v1/embeddings", json={"model": "auto", "input": "hello"})
        assert len(answer.json()["data"][0]["embedding"]) == 384
        parts = (await http.get("/api/v1/health")).json()["parts"]
        assert parts["embedder"]["status"] == "ok"


async def test_an_answers_row_outlives_the_container(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        write_config(
            tmp_path / "config",
            models=[{"id": MODEL, "api_base": provider.url, "context_window": 8192}],
            rules=[{"name": "default", "conditions": {}, "model": MODEL}],
        )
        readable(tmp_path)
        mounted = ("--volume", f"{tmp_path / 'config'}:/config:ro", "--env", "SIDECAR_CONFIG_DIR=/config")
        provider.script(Reply(("Hello ", "from Ollama")))
        provider.always(Reply(("slow ",) * 600, delay=0.1))
        async with container(*mounted) as made:
            async with await made.client() as http:
                answer = await http.post("/api/v1/chat", json={"query": "hi", "stream": False})
                assert (answer.json()["text"], answer.json()["ledger"]) == ("Hello from Ollama", "stored")
                broken = Stream()
                async with http.stream("POST", "/api/v1/chat", json={"query": "go on"}) as response:
                    pieces = response.aiter_text()
                    while not any(event.name == "token" for event in broken.events):
                        broken.text += await anext(pieces)
                    stopping = asyncio.create_task(made.stop())
                    async for piece in pieces:
                        broken.text += piece
                (end,) = broken.ends
                assert (end.name, end.data["code"]) == ("error", "shutting_down")
            assert await stopping == 0
            await engine("start", made.name)
            await made.ready()
            async with await made.client() as again:
                assert again.headers["Authorization"] == http.headers["Authorization"]
                rows = (await again.get("/api/v1/usage/records")).json()["records"]
            assert sorted(row["status"] for row in rows) == ["cancelled", "ok"]
