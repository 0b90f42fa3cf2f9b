"""How long a person waits at the start: /health, the ready line, the first token of the first chat; and memory at rest.

    python -m bench.startup [--rounds 5]

Each round starts a sidecar on an empty data folder with a scripted model server beside it, and imports litellm alone in
a process of its own: the floor that the first chat is compared with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import TOKEN, write_config

LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Round:
    """Seconds from the start of the process, and MiB."""

    litellm: float
    health: float
    ready: float
    first_token: float
    memory: float


def import_litellm() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import litellm"], check=True, env={**os.environ, **LITELLM})
    return time.perf_counter() - begun


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def until_health(http: httpx.AsyncClient) -> None:
    while True:
        try:
            if (await http.get("/health")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.002)


async def first_token(http: httpx.AsyncClient) -> None:
    async with http.stream("POST", "/api/v1/chat", json={"query": "hello"}) as response:
        async for line in response.aiter_lines():
            if line == "event: token":
                return
    raise RuntimeError("no token came")


def resident(pid: int) -> float:
    """MiB; Linux only, else not a number."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def one_round(folder: Path) -> Round:
    litellm = await asyncio.to_thread(import_litellm)
    port = free_port()
    async with FakeProvider() as provider:
        model = {"id": "ollama/llama3:8b", "api_base": provider.url, "context_window": 8192}
        write_config(
            folder / "config", models=[model], rules=[{"name": "all", "conditions": {}, "model": "ollama/llama3:8b"}]
        )
        settings = {"PORT": port, "TOKEN": TOKEN, "CONFIG_DIR": folder / "config", "DATA_DIR": folder / "data"}
        env = {**os.environ, **{f"SIDECAR_{name}": str(value) for name, value in settings.items()}}
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "serve", env=env, stdout=asyncio.subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        try:
            base, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30, trust_env=False) as http:
                await until_health(http)
                health = time.perf_counter() - begun
                chat = asyncio.create_task(first_token(http))
                line = json.loads(await process.stdout.readline())
                assert line["event"] == "ready", line
                ready = time.perf_counter() - begun
                await chat
                token = time.perf_counter() - begun
                await asyncio.sleep(2)
                return Round(litellm, health, ready, token, resident(process.pid))
        finally:
            process.terminate()
            await process.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = []
    for _ in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(await one_round(Path(folder)))
    print("| what | median | range |\n|---|---|---|")
    rows = {
        "import litellm, alone (floor)": ([r.litellm for r in rounds], "s"),
        "/health answers": ([r.health for r in rounds], "s"),
        "ready line": ([r.ready for r in rounds], "s"),
        "first token of the first chat": ([r.first_token for r in rounds], "s"),
        "… after the floor": ([r.first_token - r.litellm for r in rounds], "s"),
        "memory at rest": ([r.memory for r in rounds], "MiB"),
    }
    for name, (values, unit) in rows.items():
        print(f"| {name} | {statistics.median(values):.2f} {unit} | {min(values):.2f} to {max(values):.2f} |")


if __name__ == "__main__":
    asyncio.run(main())
