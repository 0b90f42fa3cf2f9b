"""How long a person waits at the start: /health, the ready line, the first token of the first chat; and what the
sidecar takes at rest: memory after 5 s, and what it does while nobody asks.

    python -m bench.startup [--rounds 5] [--beside FOLDER] [--idle 60]

Each round starts a sidecar on an empty data folder with a scripted model server beside it, and imports litellm alone in
a process of its own: the floor that the first chat is compared with. `--beside` names another checkout (the version
before), which is started in turn with this one by the same Python, or a frozen program. `--idle` watches one sidecar
for so many seconds.
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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import httpx

from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import TOKEN, write_config

LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "HF_HUB_OFFLINE": "1"}
HERE = Path(__file__).resolve().parent.parent
REST = 5
"""Seconds after the first chat until memory is read."""


@dataclass(frozen=True)
class Round:
    """Seconds from the start of the process (`cpu_…`: its CPU until then), and MiB."""

    health: float
    ready: float
    cpu_ready: float
    first_token: float
    cpu_rest: float
    resident: float
    proportional: float


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


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional (pages shared with other processes are shared out), MiB; Linux, else not a number."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return float("nan"), float("nan")
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return sizes["Rss:"], sizes["Pss:"]


def cpu(pid: int) -> float:
    """Seconds of CPU so far, of all threads; Linux, else not a number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wake_ups(pid: int) -> int:
    """How often its threads were given a core so far; Linux, else 0."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        found += sum(int(line.split()[1]) for line in status.read_text().splitlines() if "ctxt_switches" in line)
    return found


def program(checkout: Path) -> tuple[list[str], Path]:
    """The command of a checkout or of a frozen program, and where it is started."""
    if checkout.is_file():
        return [str(checkout), "serve"], checkout.parent
    return [sys.executable, "-m", "app", "serve"], checkout


@asynccontextmanager
async def sidecar(checkout: Path, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """One that was just started, on an empty data folder, with a scripted model server beside it."""
    port = free_port()
    async with FakeProvider() as provider:
        model = {"id": "ollama/llama3:8b", "api_base": provider.url, "context_window": 8192}
        write_config(
            folder / "config", models=[model], rules=[{"name": "all", "conditions": {}, "model": "ollama/llama3:8b"}]
        )
        settings = {"PORT": port, "TOKEN": TOKEN, "CONFIG_DIR": folder / "config", "DATA_DIR": folder / "data"}
        env = {**os.environ, **{f"SIDECAR_{name}": str(value) for name, value in settings.items()}}
        command, where = program(checkout)
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=where,
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        base, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30, trust_env=False) as http:
                yield process, http
        finally:
            process.terminate()
            await process.wait()


async def one_round(checkout: Path, folder: Path) -> Round:
    begun = time.perf_counter()
    async with sidecar(checkout, folder) as (process, http):
        assert process.stdout is not None
        await until_health(http)
        health = time.perf_counter() - begun
        chat = asyncio.create_task(first_token(http))
        line = json.loads(await process.stdout.readline())
        assert line["event"] == "ready", line
        ready, cpu_ready = time.perf_counter() - begun, cpu(process.pid)
        await chat
        token = time.perf_counter() - begun
        await asyncio.sleep(REST)
        return Round(health, ready, cpu_ready, token, cpu(process.pid), *memory(process.pid))


async def idle(checkout: Path, folder: Path, seconds: float) -> tuple[float, float]:
    """Milliseconds of CPU and wake-ups, a second, of a sidecar that answered one chat and is asked nothing more."""
    async with sidecar(checkout, folder) as (process, http):
        await until_health(http)
        await first_token(http)
        await asyncio.sleep(REST)
        spent, woken = cpu(process.pid), wake_ups(process.pid)
        await asyncio.sleep(seconds)
        return 1000 * (cpu(process.pid) - spent) / seconds, (wake_ups(process.pid) - woken) / seconds


def table(versions: dict[str, list[Round]], litellm: list[float]) -> None:
    names = {
        "health": "/health answers, s",
        "ready": "ready line, s",
        "cpu_ready": "… CPU until then, s",
        "first_token": "first token of the first chat, s",
        "cpu_rest": "CPU until at rest, s",
        "resident": "memory at rest, MiB",
        "proportional": "… with shared pages shared out, MiB",
    }
    print("| |", " | | ".join(versions), "| |\n|---|" + "---:|---:|" * len(versions))
    for field in fields(Round):
        cells = []
        for rounds in versions.values():
            values = [getattr(one, field.name) for one in rounds]
            cells += [f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"]
        print(f"| {names[field.name]} |", " | ".join(cells), "|")
    print(f"\n`import litellm`, alone: {statistics.median(litellm):.2f} s ({min(litellm):.2f} to {max(litellm):.2f})")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout, or a frozen program")
    parser.add_argument("--idle", type=float, default=0, metavar="SECONDS")
    given = parser.parse_args()
    beside = given.beside and given.beside.resolve()
    checkouts = {**({"frozen" if beside.is_file() else "before": beside} if beside else {}), "now": HERE}
    versions: dict[str, list[Round]] = {name: [] for name in checkouts}
    litellm = []
    for number in range(given.rounds):
        litellm.append(await asyncio.to_thread(import_litellm))
        for name, checkout in sorted(checkouts.items(), reverse=number % 2 == 1):
            with tempfile.TemporaryDirectory() as folder:
                versions[name].append(await one_round(checkout, Path(folder)))
    if given.rounds:
        table(versions, litellm)
    for name, checkout in checkouts.items() if given.idle else ():
        with tempfile.TemporaryDirectory() as folder:
            milliseconds, woken = await idle(checkout, Path(folder), given.idle)
        print(f"{name}, at rest for {given.idle:.0f} s: {milliseconds:.2f} ms of CPU and {woken:.1f} wake-ups a second")


if __name__ == "__main__":
    asyncio.run(main())
