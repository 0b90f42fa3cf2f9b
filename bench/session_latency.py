"""What a long session costs before the first token.

    python -m bench.session_latency [--rounds 60] [--messages 200] [--profile FILE]

The sidecar runs as a process of its own, the model it asks is played by another, and this one asks: in turn a session
with so many stored messages (more text than the model's window holds, so that they are embedded, ranked and fitted),
one with none, and none at all; and, for what the machine adds to any answer, `/health` and the model's server itself,
with a short prompt and with one as long as the long session's. Each waits until what runs after an answer has run.

A chat adds two messages; after `CHATS_PER_SESSION` of them the next prepared session is taken, and its rolling summary
is written before anything is timed. `--profile`: where the sidecar's event loop spends its time, by cProfile (slower:
its figures are not those of the table).
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
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import TOKEN, write_config

CHATS_PER_SESSION = 10
WARM_UP = 5
PAUSE_SECONDS = 0.1
SENT_MESSAGES = 130
"""About as many as of the long session fit into the window."""
LIMIT_MS = 5.0
HEALTH, SHORT, SENT = "/health", "the model's server, a short prompt", f"the model's server, {SENT_MESSAGES} messages"
PLAIN, EMPTY, LONG = "no session", "a session with no messages", "a session with many messages"
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


async def until_ready(http: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with http.get("/api/v1/health") as answer:
                if (await answer.json())["parts"]["litellm"]["status"] == "ok":
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.05)


async def post(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
    async with http.post(path, json=body) as answer:
        answer.raise_for_status()
        return await answer.json()


async def first_token(http: aiohttp.ClientSession, url: str, body: dict[str, Any], mark: bytes = b"token\n") -> float:
    """Milliseconds from the request to the first bytes of the answer with `mark` in them; reads it to its end."""
    found, before = 0.0, b""
    began = time.perf_counter()
    async with http.post(url, json=body) as answer:
        answer.raise_for_status()
        async for data in answer.content.iter_any():
            if not found and mark in before + data:
                found = (time.perf_counter() - began) * 1_000
            before = data[-len(mark) :]
    if not found:
        raise RuntimeError("no token came")
    return found


def asking(number: int, session_id: str | None = None) -> dict[str, Any]:
    query = f"What did we find about {SUBJECTS[number % len(SUBJECTS)]} in question {number}?"
    return {"query": query} if session_id is None else {"query": query, "session_id": session_id}


def straight(messages: int) -> dict[str, Any]:
    """A chat of so many messages in Ollama's words."""
    return {"model": "small", "stream": True, "messages": [*talk(messages), {"role": "user", "content": "What now?"}]}


async def prepared(http: aiohttp.ClientSession, name: str, messages: int) -> str:
    """A session with its messages embedded and its rolling summary written."""
    await post(http, "/api/v1/sessions", {"id": name, "workspace": "open"})
    await post(http, f"/api/v1/sessions/{name}/messages", {"messages": talk(messages)})
    await first_token(http, "/api/v1/chat", asking(0, name))
    written = 0
    while True:  # the summary grows in the background, fold by fold
        await asyncio.sleep(0.5)
        async with http.get(f"/api/v1/sessions/{name}") as answer:
            summary = (await answer.json())["summary"]
        if summary is not None and summary["to_seq"] == written:
            return name
        written = summary["to_seq"] if summary else 0


async def touched(http: aiohttp.ClientSession) -> float:
    began = time.perf_counter()
    async with http.get("/health") as answer:
        await answer.read()
    return (time.perf_counter() - began) * 1_000


async def measure(http: aiohttp.ClientSession, model: str, rounds: int, messages: int) -> dict[str, list[float]]:
    """Milliseconds of each, round by round; in each round another one begins."""
    took: dict[str, list[float]] = {name: [] for name in (HEALTH, SHORT, SENT, PLAIN, EMPTY, LONG)}
    session = ""
    for number in range(rounds + WARM_UP):
        if number % CHATS_PER_SESSION == 0:
            session = await prepared(http, f"long-{number}", messages)
        none = f"none-{number}"
        await post(http, "/api/v1/sessions", {"id": none, "workspace": "open"})
        work: dict[str, Callable[[], Awaitable[float]]] = {
            HEALTH: partial(touched, http),
            SHORT: partial(first_token, http, f"{model}/api/chat", straight(0), b"content"),
            SENT: partial(first_token, http, f"{model}/api/chat", straight(SENT_MESSAGES), b"content"),
            PLAIN: partial(first_token, http, "/api/v1/chat", asking(number)),
            EMPTY: partial(first_token, http, "/api/v1/chat", asking(number, none)),
            LONG: partial(first_token, http, "/api/v1/chat", asking(number, session)),
        }
        first = number % len(work)
        for name in [*list(work)[first:], *list(work)[:first]]:
            await asyncio.sleep(PAUSE_SECONDS)
            took[name].append(await work[name]())
    return {name: times[WARM_UP:] for name, times in took.items()}


def spread(times: Sequence[float]) -> str:
    tenths = quantiles(times, n=10)
    return f"{median(times):9.2f} {tenths[0]:9.2f} {tenths[8]:9.2f}"


def more(took: dict[str, list[float]], one: str, other: str) -> float:
    return median(a - b for a, b in zip(took[one], took[other], strict=True))


async def run(rounds: int, messages: int, port: int, model: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as http:
        await until_ready(http)
        took = await measure(http, model, rounds, messages)
    print(f"{f'first token, {rounds} rounds, ms':44} {'median':>9} {'p10':>9} {'p90':>9}")
    for name, times in took.items():
        print(f"{name:44} {spread(times)}")
    print(f"{'more, median of the pairs':44}")
    print(f"{'  an empty session than none':44} {more(took, EMPTY, PLAIN):9.2f}")
    print(f"{f'  {messages} messages than an empty one':44} {more(took, LONG, EMPTY):9.2f}   (limit {LIMIT_MS:g})")
    print(f"{'  of it the model reads a longer prompt':44} {more(took, SENT, SHORT):9.2f}")


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
            asyncio.run(run(rounds, messages, json.loads(sidecar.stdout.readline())["port"], base))
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
