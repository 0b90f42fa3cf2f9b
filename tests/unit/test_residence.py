"""Whether a server runs a model itself is asked of it; one that does not say gets no private prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.errors import AttemptError, AttemptTimeout, EgressBlocked, ServerFailed
from app.llm import residence
from app.llm.residence import Residence
from app.llm.transport import Transport
from app.routing.locality import Location
from app.routing.spec import Endpoint, ModelSpec, Source, Sourced


@dataclass
class Server:
    """Answers `/api/show` with a status and a body."""

    url: str = ""
    status: int = 404
    body: str = "{}"
    hangs: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)

    async def show(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        if self.hangs:
            await asyncio.sleep(30)
        return web.Response(status=self.status, text=self.body, content_type="application/json")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, Residence]]:
    server = Server()
    app = web.Application()
    app.router.add_post("/api/show", server.show)
    async with TestServer(app) as running, Transport() as transport:
        server.url = f"http://127.0.0.1:{running.port}"
        yield server, Residence(transport)


def spec(wire: str, server: Server) -> ModelSpec:
    unknown: Any = Sourced(None, Source.DEFAULT)
    base = server.url if wire in ("ollama_chat", "anthropic") else f"{server.url}/v1"
    where = Endpoint(base, Location.LOOPBACK, "test")
    return ModelSpec(f"{wire}/m", wire, wire, "m", where, Sourced(8192, Source.CONFIG), unknown, unknown, "gpt-4")


@pytest.mark.parametrize("wire", ["openai", "hosted_vllm", "anthropic"])
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_that_does_not_know_the_question_is_no_ollama(wire: str, status: int) -> None:
    async with served() as (server, asking):
        server.status = status
        for _ in range(2):
            await asking.require_local(spec(wire, server), None)
        assert len(server.asked) == 1, "its word is good for a while"


@pytest.mark.parametrize("wire", ["ollama_chat", "openai", "anthropic"])
@pytest.mark.parametrize("status", [302, 401, 403, 429, 500, 503])
async def test_one_that_cannot_say_gets_no_private_prompt(wire: str, status: int) -> None:
    """An Ollama in front of which something stands, or that is out of breath, may know it all the same."""
    async with served() as (server, asking):
        server.status = status
        with pytest.raises(ServerFailed):
            await asking.require_local(spec(wire, server), None)


@pytest.mark.parametrize("wire", ["ollama_chat", "openai"])
async def test_one_that_does_not_answer_gets_no_private_prompt(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads another model, say, and would pass this one on."""
    monkeypatch.setattr(residence, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(residence, "PATIENT_SECONDS", 0.1)
    async with served() as (server, asking):
        server.hangs = True
        with pytest.raises(AttemptTimeout):
            await asking.require_local(spec(wire, server), None)
        gone = spec(wire, Server("http://127.0.0.1:1"))
        with pytest.raises(AttemptError):
            await asking.require_local(gone, None)


@pytest.mark.parametrize("wire", ["ollama_chat", "openai", "anthropic"])
async def test_one_that_passes_it_on_is_refused(wire: str) -> None:
    async with served() as (server, asking):
        server.status, server.body = 200, '{"remote_host": "https://ollama.com:443", "remote_model": "m"}'
        with pytest.raises(EgressBlocked, match=r"ollama\.com"):
            await asking.require_local(spec(wire, server), None)


async def test_that_an_ollama_has_no_such_model_is_not_remembered() -> None:
    async with served() as (server, asking):
        await asking.require_local(spec("ollama_chat", server), None)
        server.status, server.body = 200, '{"remote_host": "https://ollama.com:443"}'  # pulled meanwhile
        with pytest.raises(EgressBlocked):
            await asking.require_local(spec("ollama_chat", server), None)


@pytest.mark.parametrize(
    ("wire", "header", "value"), [("openai", "Authorization", "Bearer the-key"), ("anthropic", "X-Api-Key", "the-key")]
)
async def test_a_key_is_shown_as_the_protocol_shows_it(wire: str, header: str, value: str) -> None:
    async with served() as (server, asking):
        await asking.require_local(spec(wire, server), "the-key")
        assert {name.lower(): shown for name, shown in server.asked[0].items()}[header.lower()] == value
