"""Random bytes and cuts in the streams of model servers, on every wire: no crash, one terminal event, flat memory.

FUZZ_CASES and FUZZ_SEED widen the search; a failure names the seed and the case.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from aiohttp import web

from tests.fakes import text_wires, wires
from tests.fakes.sidecar import RunningSidecar, parse_events, running_sidecar
from tests.fakes.steps import Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = int(os.environ.get("FUZZ_CASES", "150"))
SEED = int(os.environ.get("FUZZ_SEED", "20261127"))
AT_ONCE = 6
GROWTH = 48 * 1024 * 1024
"""Bytes. A reader that kept what it was fed would keep far more: some cases send a line without an end."""
CHAT, TEXT = "/api/v1/chat", "/v1/completions"
WIRES: dict[tuple[str, str], wires.Wire] = {
    (CHAT, "ollama/a"): wires.OLLAMA,
    (CHAT, "openai/b"): wires.OPENAI,
    (CHAT, "anthropic/c"): wires.ANTHROPIC,
    (CHAT, "gemini/gemini-2.0-flash"): wires.GEMINI,
    (TEXT, "ollama/a"): text_wires.GENERATE,
    (TEXT, "hosted_vllm/d"): text_wires.COMPLETIONS,
}
"""By the route that is asked and the model that answers."""

Target = tuple[str, str]


@dataclass
class Torn:
    """A server that answers each request with the bytes of its case, in pieces, and ends as the case says."""

    port: int = 0
    cases: dict[str, tuple[list[bytes], bool]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        name = next((n for n in self.cases if f"case {n}." in text), None)
        if name is None:
            return web.Response(status=404)
        self.paths.add(request.path)
        pieces, reset = self.cases[name]
        response = web.StreamResponse(headers={"content-type": self.kinds[name]})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        if reset and request.transport is not None:
            request.transport.abort()
        return response


@dataclass
class Lab:
    sidecar: RunningSidecar
    server: Torn


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    torn = Torn()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", torn.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    torn.port = runner.addresses[0][1]
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
            patch.setenv(name, "fuzz-key-0123456789")
        rules = [{"name": "all", "conditions": {}, "model": "ollama/a"}]
        async with running_sidecar(folder, models=entries(torn.port), rules=rules) as sidecar:
            # Models that fail come to rest: here every case is to reach its server.
            sidecar.services.router.breakers.failures_until_rest = 1_000_000
            yield Lab(sidecar, torn)
    await runner.cleanup()


def entries(port: int) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{port}"
    return [
        {"id": "ollama/a", "api_base": url, "context_window": 8192},
        {"id": "openai/b", "api_base": f"{url}/v1", "location": "cloud", "context_window": 8192},
        {"id": "anthropic/c", "api_base": url, "location": "cloud", "context_window": 8192},
        {"id": "gemini/gemini-2.0-flash", "api_base": url, "location": "cloud", "context_window": 8192},
        {"id": "hosted_vllm/d", "api_base": f"{url}/v1", "context_window": 8192},
    ]


# -- what can be done to an answer --------------------------------------------------------------------------------


def noise(chance: random.Random, body: bytes) -> bytes:
    return chance.randbytes(chance.randrange(1, 4000))


def cut(chance: random.Random, body: bytes) -> bytes:
    return body[: chance.randrange(len(body))]


def flipped(chance: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randrange(1, 20)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def spliced(chance: random.Random, body: bytes) -> bytes:
    place = chance.randrange(len(body))
    return body[:place] + chance.randbytes(chance.randrange(1, 300)) + body[place:]


def shuffled(chance: random.Random, body: bytes) -> bytes:
    lines = body.split(b"\n")
    chance.shuffle(lines)
    return b"\n".join(lines)


def repeated(chance: random.Random, body: bytes) -> bytes:
    start = chance.randrange(len(body))
    return body[:start] + body[start : start + chance.randrange(1, 400)] * chance.randrange(2, 30) + body[start:]


def endless_line(chance: random.Random, body: bytes) -> bytes:
    return body[: chance.randrange(len(body))] + b"x" * chance.randrange(100_000, 3_000_000)


def odd_json(chance: random.Random, body: bytes) -> bytes:
    value = chance.choice([b"null", b"[]", b"-1", b'"x"', b"{}", b"1e999", b"[" * 3000, b'{"choices":[null]}', b"NaN"])
    return chance.choice([b"", b"data: ", b"event: error\ndata: "]) + value + b"\n\n" + body


Harm = Callable[[random.Random, bytes], bytes]
HARMS: tuple[Harm, ...] = (noise, cut, cut, flipped, flipped, spliced, shuffled, repeated, endless_line, odd_json)


def pieces_of(chance: random.Random, body: bytes) -> list[bytes]:
    """The bytes as a network may cut them: also in the middle of a character."""
    size = chance.choice([1 + len(body) // 60, 1 + len(body) // 7, len(body) + 1])
    return [body[n : n + size] for n in range(0, len(body), size)]


@pytest.mark.timeout(60 + CASES)
async def test_whatever_a_server_sends_the_answer_has_one_end(lab: Lab) -> None:
    print(f"seed {SEED}, {CASES} cases")
    chance = random.Random(SEED)
    room = asyncio.Semaphore(AT_ONCE)
    ends: dict[str, int] = {}

    async def one(number: int, target: Target) -> None:
        async with room:
            told = await asyncio.wait_for(ask(lab, number, *target), 30)
        assert len(told) == 1, f"seed {SEED}, case {number}, {target}: {told}"
        ends[told[0]] = ends.get(told[0], 0) + 1
        lab.server.cases.pop(str(number))

    plan = [(number, chance.choice(list(WIRES))) for number in range(CASES)]
    for number, target in plan:
        prepare(lab, chance, number, target)
    warm = CASES // 3
    await asyncio.gather(*(one(*case) for case in plan[:warm]))
    gc.collect()
    before = psutil.Process().memory_info().rss
    await asyncio.gather(*(one(*case) for case in plan[warm:]))
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    print(f"ends {ends}, grown {grown / 1e6:.1f} MB")
    assert grown < GROWTH
    assert ends["error"] > CASES // 10
    # The control: not every harm ruins an answer. Which ones do depends on where the network cuts, some 4 to 7 in 100.
    assert ends["done"] > CASES // 100
    assert {"/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions"} < lab.server.paths
    rows = lab.sidecar.rows()
    assert "pending" not in {row["status"] for row in rows}
    assert (await lab.sidecar.http.get("/health")).status_code == 200


def prepare(lab: Lab, chance: random.Random, number: int, target: Target) -> None:
    wire = WIRES[target]
    text = tuple(chance.choice(["a ", "é", "日本", "\n\n", "🦉", "word "]) for _ in range(12))
    body = b"".join(frame.data for frame in wire.frames(Reply(text=text), target[1], 10))
    harmed = chance.choice(HARMS)(chance, body)
    lab.server.cases[str(number)] = (pieces_of(chance, harmed), chance.random() < 0.3)
    lab.server.kinds[str(number)] = wire.content_type


async def ask(lab: Lab, number: int, route: str, model: str) -> list[str]:
    """The terminal events the client saw, in the order they came."""
    query = f"case {number}."
    if route == CHAT:
        response = await lab.sidecar.http.post(route, json={"query": query, "model": model})
        assert response.status_code == 200, (number, response.text)
        return [event.name for event in parse_events(response.text) if event.name in ("done", "error")]
    response = await lab.sidecar.http.post(route, json={"prompt": query, "model": model, "stream": True})
    return ends_of_text(response.status_code, response.text)


def ends_of_text(status: int, body: str) -> list[str]:
    """As of OpenAI's "Completions": a status where nothing had come, a `data` with `error`, or `[DONE]`."""
    if status != 200:
        assert "error" in json.loads(body)
        return ["error"]
    told = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return ["done" if data == "[DONE]" else "error" for data in told if data == "[DONE]" or "error" in json.loads(data)]
