"""What other people's APIs cost beside our own, and what an inline completion adds to its model.

    python -m bench.foreign [--requests 120] [--rounds 6]

The sidecar runs as a process of its own, the model it asks and the client here. CPU is the sidecar's own, read before
and after each block of requests; blocks of the routes take turns. First tokens are timed from the request's first byte
to the answer's first text, once straight at the model's server and once through the sidecar, in turns too. "stopped"
is from sending the newer completion until the model's server sees the older one's connection closed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psutil

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import TOKEN, write_config

MESSAGES = [{"role": "user", "content": "Say something about the retry policy of a gateway."}]
TOKENS = 64
ROUTES: dict[str, dict[str, Any]] = {
    "/api/v1/chat": {"messages": MESSAGES},
    "/v1/chat/completions": {"model": "auto", "messages": MESSAGES, "stream": True},
    "/v1/messages": {"model": "auto", "messages": MESSAGES, "stream": True, "max_tokens": 500},
}
GAP = {"prompt": "def add(a, b):\n    return ", "suffix": "\n\nprint(add(1, 2))\n"}


async def drain(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> float:
    """Seconds until the first text of the answer; reads it to its end."""
    started, first = time.perf_counter(), 0.0
    async with http.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for data in answer.content.iter_any():
            # A first chunk without text says that an answer begins, which is not a token.
            if not first and (b'"text":"a' in data or b'"response": "a' in data):
                first = time.perf_counter() - started
    return first


async def cost(http: aiohttp.ClientSession, sidecar: psutil.Process, url: str, body: dict[str, Any], n: int) -> float:
    """Milliseconds of the sidecar's CPU for each of `n` requests, eight at once."""
    before = cpu_seconds(sidecar)
    for _ in range(n // 8):
        await asyncio.gather(*(drain(http, url, body) for _ in range(8)))
    return (cpu_seconds(sidecar) - before) * 1000 / (n // 8 * 8)


def cpu_seconds(process: psutil.Process) -> float:
    """Of all its threads that live. Linux's scheduler counts nanoseconds; elsewhere a tick is 10 ms."""
    tasks = Path(f"/proc/{process.pid}/task")
    if tasks.is_dir():
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


async def routes(http: aiohttp.ClientSession, sidecar: psutil.Process, base: str, n: int, rounds: int) -> None:
    figures: dict[str, list[float]] = {route: [] for route in ROUTES}
    for number in range(rounds + 1):
        for route, body in ROUTES.items():
            measured = await cost(http, sidecar, base + route, body, n)
            if number:  # the first round warms up
                figures[route].append(measured)
    floor = figures["/api/v1/chat"]
    print(
        f"CPU a request, {TOKENS} tokens streamed ({rounds} rounds of {n}); more than our own route in the same round"
    )
    for route, values in figures.items():
        # Pairs of one round: what else the machine does at the time makes both of them dearer.
        more = sorted(value / own - 1 for value, own in zip(values, floor, strict=True))
        quarter = len(more) // 4
        spread = f"half of the rounds {more[quarter]:+.1%} to {more[-1 - quarter]:+.1%}"
        best = f"best {min(values):.2f} ({min(values) / min(floor) - 1:+.1%})"
        print(f"  {route:24} {median(values):6.2f} ms  {median(more):+6.1%}  {spread}, {best}")


async def first_tokens(http: aiohttp.ClientSession, base: str, model: str, n: int) -> None:
    """Straight at the model's server; a byte forwarder's share of the way (`/health`, which does nothing); and both
    of the sidecar's routes, so that what the machine adds to any answer can be told from what we add."""
    took: dict[str, list[float]] = {name: [] for name in ("straight", "/health", "/api/v1/chat", "/v1/completions")}
    chat = {"query": "add a and b", "task_type": "completion"}
    inline = {"model": "auto", **GAP, "stream": True, "max_tokens": 16}
    for number in range(n + 10):
        found = {
            "straight": await drain(http, f"{model}/api/generate", {"model": "coder", **GAP, "stream": True}),
            "/health": await touch(http, f"{base}/health"),
            "/api/v1/chat": await drain(http, f"{base}/api/v1/chat", chat),
            "/v1/completions": await drain(http, f"{base}/v1/completions", inline),
        }
        for name, seconds in found.items():
            if number >= 10:
                took[name].append(seconds * 1000)
    print(f"first token of a short answer ({n} of each)")
    for name, values in took.items():
        ordered = sorted(values)
        print(f"  {name:18} {median(values):6.2f} ms, a quarter under {ordered[n // 4]:.2f}, best {ordered[0]:.2f}")
    floor = sorted(s + h for s, h in zip(took["straight"], took["/health"], strict=True))
    added = median(took["/v1/completions"]) - median(floor)
    print(f"  added to straight + /health: {added:.2f} ms")


async def touch(http: aiohttp.ClientSession, url: str) -> float:
    started = time.perf_counter()
    async with http.get(url) as answer:
        await answer.read()
    return time.perf_counter() - started


async def stopping(http: aiohttp.ClientSession, base: str, provider: FakeProvider, n: int) -> None:
    took = []
    body = {"model": "auto", **GAP, "stream": True}
    for _ in range(n):
        provider.forget()
        provider.script(Reply(("a",) * 500, delay=0.01), model="coder")
        older = await http.post(f"{base}/v1/completions", json=body)
        await older.content.readany()
        loop = asyncio.get_running_loop()
        sent = loop.time()
        newer = asyncio.create_task(drain(http, f"{base}/v1/completions", body))
        record = await provider.client_left(within=5)
        assert record.client_closed_at is not None
        took.append((record.client_closed_at - sent) * 1000)
        await newer
        older.close()
    print(f"superseded, stopped after ({n} times)")
    print(f"  {median(took):.2f} ms, nine in ten under {sorted(took)[int(n * 0.9)]:.2f}, longest {max(took):.2f}")


async def with_sidecar(
    work: Callable[[aiohttp.ClientSession, subprocess.Popen[str], str, FakeProvider], Awaitable[None]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with FakeProvider(models={"small": 8192, "coder": 8192}) as provider:
            provider.always(Reply(("a",) * TOKENS), model="small")
            provider.always(Reply(("a", "b")), model="coder")
            write_config(
                folder / "config",
                models=[
                    {"id": f"ollama/{m}", "api_base": provider.url, "context_window": 8192} for m in ("small", "coder")
                ],
                rules=[
                    {"name": "inline", "conditions": {"task_type": "completion"}, "model": "ollama/coder"},
                    {"name": "rest", "conditions": {}, "model": "ollama/small"},
                ],
            )
            environment = {"SIDECAR_TOKEN": TOKEN, "SIDECAR_PORT": "0", "SIDECAR_CONFIG_DIR": str(folder / "config")}
            process = subprocess.Popen(  # noqa: ASYNC220  (started once, before anything is timed)
                [sys.executable, "-m", "app", "serve"],
                env={
                    **os.environ,
                    **environment,
                    "SIDECAR_DATA_DIR": str(folder / "data"),
                    "SIDECAR_LOG_LEVEL": "error",
                },
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                assert process.stdout is not None
                line = await asyncio.to_thread(process.stdout.readline)
                port = int(line.partition('"port": ')[2].partition(",")[0])
                headers = {"Authorization": f"Bearer {TOKEN}"}
                async with aiohttp.ClientSession(headers=headers) as http:
                    await work(http, process, f"http://127.0.0.1:{port}", provider)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(10)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=120, help="in a block")
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()

    async def work(http: aiohttp.ClientSession, process: subprocess.Popen[str], base: str, fake: FakeProvider) -> None:
        if given.requests:
            await routes(http, psutil.Process(process.pid), base, given.requests, given.rounds)
        await first_tokens(http, base, fake.url, 200)
        await stopping(http, base, fake, 50)

    await with_sidecar(work)


if __name__ == "__main__":
    asyncio.run(main())
