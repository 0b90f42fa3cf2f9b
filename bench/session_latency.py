"""What a long session costs before the first token.

    python -m bench.session_latency [--rounds 60] [--messages 200] [--profile FILE]

The sidecar runs as a process of its own, the model it asks is played by another, and this one asks: in turn a session
with so many stored messages (more text than the model's window holds, so that they are embedded, ranked and fitted) and
one with none. A chat adds two messages; after `CHATS_PER_SESSION` of them the next prepared session is taken, and its
rolling summary is written before anything is timed. `--profile`: where the sidecar's event loop spends its time, by
cProfile (slower: its figures are not those of the table).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import TOKEN, write_config

CHATS_PER_SESSION = 10
WARM_UP = 5
LIMIT_MS = 5.0
SUBJECTS = (
    "the retry policy",
    "the parser",
    "the ledger",
    "start-up",
    "the tokenizer",
    "the build",
    "privacy",
    "tests",
)


async def play_provider() -> None:
    """The model's server: says its port, answers until it is ended."""
    async with FakeProvider(models={"small": 8192, "scribe": 8192}) as provider:
        provider.always(Reply(("They spoke of many subjects, of the retry policy first.",)), model="scribe")
        print(provider.port, flush=True)
        await asyncio.Event().wait()


def talk(count: int) -> list[dict[str, str]]:
    """About 200 characters a message."""
    return [
        {
            "role": "user" if i % 2 == 0 else "assistant",
            "content": f"Point {i} about {SUBJECTS[i % len(SUBJECTS)]}: we measured it in module_{i % 37}.py and found "
            f"that step {i * 7 % 100} took {i * 13 % 900} ms, so the next thing is to look at what calls it and why.",
        }
        for i in range(count)
    ]


async def until_ready(http: httpx.AsyncClient) -> None:
    while True:
        try:
            health = (await http.get("/api/v1/health")).json()
            if health["parts"]["litellm"]["status"] == "ok":
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)


async def post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    response = await http.post(path, json=body, timeout=60)
    response.raise_for_status()
    return response.json()


async def first_token(http: httpx.AsyncClient, session_id: str, number: int) -> float:
    """Milliseconds from the request to the first token."""
    query = f"What did we find about {SUBJECTS[number % len(SUBJECTS)]} in question {number}?"
    found = 0.0
    began = time.perf_counter()
    async with http.stream("POST", "/api/v1/chat", json={"query": query, "session_id": session_id}) as response:
        async for line in response.aiter_lines():
            if line == "event: token" and not found:
                found = (time.perf_counter() - began) * 1_000
    if not found:
        raise RuntimeError(f"no token came from session {session_id}")
    return found


async def prepared(http: httpx.AsyncClient, name: str, messages: int) -> str:
    """A session with its messages embedded and its rolling summary written."""
    await post(http, "/api/v1/sessions", {"id": name, "workspace": "open"})
    await post(http, f"/api/v1/sessions/{name}/messages", {"messages": talk(messages)})
    await first_token(http, name, 0)
    written = 0
    while True:  # the summary grows in the background, fold by fold
        await asyncio.sleep(0.5)
        summary = (await http.get(f"/api/v1/sessions/{name}")).json()["summary"]
        if summary is not None and summary["to_seq"] == written:
            return name
        written = summary["to_seq"] if summary else 0


async def measure(http: httpx.AsyncClient, rounds: int, messages: int) -> tuple[list[float], list[float]]:
    long: list[float] = []
    empty: list[float] = []
    session = ""
    for number in range(rounds + WARM_UP):
        if number % CHATS_PER_SESSION == 0:
            session = await prepared(http, f"long-{number}", messages)
        none = f"none-{number}"
        await post(http, "/api/v1/sessions", {"id": none, "workspace": "open"})
        pair = [(session, long), (none, empty)]
        for name, times in pair if number % 2 else pair[::-1]:
            times.append(await first_token(http, name, number))
            await asyncio.sleep(0.05)  # what runs after an answer has run
    return long[WARM_UP:], empty[WARM_UP:]


def spread(times: Sequence[float]) -> str:
    tenths = quantiles(times, n=10)
    return f"{median(times):9.2f} {tenths[0]:9.2f} {tenths[8]:9.2f}"


async def run(rounds: int, messages: int, port: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as http:
        await until_ready(http)
        long, empty = await measure(http, rounds, messages)
    print(f"{f'first token, {rounds} rounds, ms':36} {'median':>9} {'p10':>9} {'p90':>9}")
    print(f"{'a session with no messages':36} {spread(empty)}")
    print(f"{f'a session with {messages} messages':36} {spread(long)}")
    more = median(a - b for a, b in zip(long, empty, strict=True))
    print(f"{'more, median of the pairs':36} {more:9.2f}   (limit {LIMIT_MS:g})")


def started(command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)


def benchmark(rounds: int, messages: int, profile: Path | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provider = started([sys.executable, "-m", "bench.session_latency", "--play-provider"], {})
        processes = [provider]
        try:
            assert provider.stdout is not None
            base = f"http://127.0.0.1:{int(provider.stdout.readline())}"
            models = [{"id": f"ollama/{m}", "api_base": base, "context_window": 8192} for m in ("small", "scribe")]
            rules: list[dict[str, Any]] = [
                {"name": "summaries", "conditions": {"task_type": "summarization"}, "model": "ollama/scribe"},
                {"name": "all", "conditions": {}, "model": "ollama/small"},
            ]
            extra = {"summarizer": "ollama/scribe"}
            write_config(folder / "config", models=models, rules=rules, models_extra=extra)
            run_it = ["-m", "cProfile", "-o", str(profile)] if profile else []
            env = {"SIDECAR_CONFIG_DIR": str(folder / "config"), "SIDECAR_DATA_DIR": str(folder / "data")}
            command = [sys.executable, *run_it, "-m", "app", "serve"]
            sidecar = started(command, {**env, "SIDECAR_PORT": "0", "SIDECAR_TOKEN": TOKEN})
            processes.append(sidecar)
            assert sidecar.stdout is not None
            asyncio.run(run(rounds, messages, json.loads(sidecar.stdout.readline())["port"]))
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a long session costs before the first token.")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--profile", type=Path, default=None, help="write the sidecar's cProfile here")
    parser.add_argument("--play-provider", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play_provider:
        asyncio.run(play_provider())
    else:
        benchmark(options.rounds, options.messages, options.profile)


if __name__ == "__main__":
    main()
