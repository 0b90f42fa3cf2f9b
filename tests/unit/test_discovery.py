"""Discovery against servers on loopback that speak Ollama's and OpenAI's listing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.llm.discovery import (
    Discovery,
    ServerEndpoint,
    ServerKind,
    discover,
    discovered,
    full_name,
    hosts_file_addresses,
    local_endpoints,
)
from app.llm.transport import Transport
from app.routing.catalog import Endpoint, ModelSpec, Source, Sourced
from app.routing.locality import Location


@dataclass
class Listing:
    """Answers paths with JSON; a path that is missing is a 404, one that holds None never answers."""

    answers: Mapping[str, Any]
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    base: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
        body = await reader.readexactly(length)
        path = head.split()[1].decode()
        self.requests.append((path, head + body))
        answer = self.answers.get(path, 404)
        if callable(answer):
            answer = answer(orjson.loads(body))
        if answer is None:
            await reader.read()
        else:
            text = b"" if answer == 404 else answer if isinstance(answer, bytes) else orjson.dumps(answer)
            status = b"404 Not Found" if answer == 404 else b"200 OK"
            head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(text))
            writer.write(head + text)
        writer.close()


@asynccontextmanager
async def listing(answers: Mapping[str, Any]) -> AsyncIterator[Listing]:
    server = Listing(answers)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.base = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport() as opened:
        yield opened


def show(question: Mapping[str, Any]) -> Any:
    windows = {"llama3:latest": 8192, "qwen:7b": 32768}
    if question["model"] not in windows:
        return 404
    info = {"general.architecture": "llama", "llama.context_length": windows[question["model"]]}
    return {"model_info": info, "capabilities": ["completion", "tools"]}


OLLAMA = {
    "/api/tags": {
        "models": [
            {"name": "llama3:latest", "size": 1},
            {"name": "qwen:7b"},
            {"name": "broken:latest"},
            {"name": "gpt-oss:120b-cloud"},
            {"name": "aliased:latest", "remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"},
            {"name": "half:latest", "remote_model": "x"},
        ]
    },
    "/api/show": show,
}


async def test_ollama(transport: Transport) -> None:
    async with listing(OLLAMA) as server:
        (report,) = await discover(
            [ServerEndpoint(server.base, ServerKind.OLLAMA, ("llama3", "broken", "missing"))], transport
        )
    assert report.reachable
    llama, broken = report.find("llama3"), report.find("broken:latest")
    assert llama is not None
    assert (llama.context_window, llama.capabilities) == (8192, frozenset({"completion", "tools"}))
    assert broken is not None
    assert (broken.context_window, broken.capabilities) == (None, None)
    assert report.find("missing") is None
    shown = {orjson.loads(raw.partition(b"\r\n\r\n")[2])["model"] for path, raw in server.requests if "show" in path}
    assert shown == {"llama3:latest", "broken:latest"}  # only what the configuration names is asked about
    served = discovered([report])
    assert (found := served.find(server.base, "aliased")) is not None
    assert found.remote
    assert {m.name for m in report.models if m.remote} == {"gpt-oss:120b-cloud", "aliased:latest", "half:latest"}


@pytest.mark.parametrize(
    ("entry", "window"),
    [
        ({"id": "m", "max_model_len": 4096}, 4096),
        ({"id": "m", "meta": {"n_ctx": 2048, "n_ctx_train": 131072}}, 2048),
        ({"id": "m", "meta": {"n_ctx_train": 131072}}, None),
        ({"id": "m", "meta": None}, None),
        ({"id": "m", "max_model_len": "4096"}, None),
        ({"id": "m", "max_model_len": True}, None),
        ({"id": "m", "loaded_context_length": 512}, 512),
    ],
)
async def test_openai_style_windows(transport: Transport, entry: Mapping[str, Any], window: int | None) -> None:
    async with listing({"/v1/models": {"data": [entry]}}) as server:
        for base in (server.base, f"{server.base}/v1"):
            (report,) = await discover([ServerEndpoint(base, ServerKind.OPENAI, ("m",))], transport)
            model = report.find("m")
            assert model is not None
            assert model.context_window == window


async def test_a_key_is_shown_where_one_is_configured(transport: Transport) -> None:
    async def key_of(name: str) -> str | None:
        return {"BOX_KEY": "s3cret"}.get(name)

    async with listing({"/v1/models": {"data": []}}) as server:
        await discover([ServerEndpoint(server.base, ServerKind.OPENAI, (), "BOX_KEY")], transport, key_of)
    assert b"Authorization: Bearer s3cret" in server.requests[0][1]


@pytest.mark.parametrize("answer", [None, 404, b"<html>", {}, {"models": 3}, {"models": [{}]}, [], {"models": ["x"]}])
async def test_a_server_that_fails_is_a_report(transport: Transport, answer: Any) -> None:
    async with listing({"/api/tags": answer}) as server, listing(OLLAMA) as healthy:
        broken, fine = await discover(
            [ServerEndpoint(base, ServerKind.OLLAMA, ()) for base in (server.base, healthy.base)], transport, None, 0.3
        )
    assert not broken.reachable
    assert broken.problem
    assert fine.reachable


async def test_a_server_that_is_away_or_elsewhere(transport: Transport, unused_tcp_port: int) -> None:
    away, elsewhere = await discover(
        [
            ServerEndpoint(f"http://127.0.0.1:{unused_tcp_port}", ServerKind.OLLAMA, ()),
            ServerEndpoint("https://api.example.com/v1", ServerKind.OPENAI, ()),
        ],
        transport,
    )
    assert "cannot be reached" in (away.problem or "")
    assert "may not leave" in (elsewhere.problem or "")


def spec(model: str, location: Location, api_base: str | None, wire: str = "openai") -> ModelSpec:
    provider, _, name = model.partition("/")
    return ModelSpec(
        id=model,
        provider=provider,
        wire=wire,
        name=name,
        endpoint=Endpoint(api_base, location, "by the test"),
        context_window=Sourced(8192, Source.DEFAULT),
        max_output_tokens=Sourced(None, Source.DEFAULT),
        price=Sourced(None, Source.DEFAULT),
        tokenizer="gpt-4",
    )


def test_only_local_servers_are_asked_and_each_once() -> None:
    endpoints = local_endpoints(
        [
            spec("ollama/a", Location.LOOPBACK, None, "ollama_chat"),
            spec("ollama/b", Location.LOOPBACK, "http://127.0.0.1:11434/", "ollama_chat"),
            spec("ollama/c", Location.CLOUD, "https://ollama.example.com", "ollama_chat"),
            spec("openai/gpt-4o", Location.CLOUD, None),
            spec("vllm/d", Location.TRUSTED, "http://gpu-box:8000/v1", "hosted_vllm"),
            spec("openai/e", Location.LOOPBACK, None),
            spec("builtin/extractive", Location.IN_PROCESS, None),
            spec("embedded/f", Location.LOOPBACK, None, "hosted_vllm"),
        ]
    )
    assert endpoints == (
        ServerEndpoint("http://127.0.0.1:11434", ServerKind.OLLAMA, ("a", "b")),
        ServerEndpoint("http://gpu-box:8000/v1", ServerKind.OPENAI, ("d",)),
    )


async def test_reports_are_kept_until_they_are_old(transport: Transport) -> None:
    now = 100.0
    async with listing(OLLAMA) as server:
        endpoints = (ServerEndpoint(server.base, ServerKind.OLLAMA, ()),)
        discovery = Discovery(transport, lambda: now, max_age=60)
        assert discovery.stale(endpoints)
        first, second = await asyncio.gather(discovery.refresh(endpoints), discovery.refresh(endpoints))
        assert first == second
        assert len(server.requests) == 1
        now += 60
        assert discovery.stale(endpoints)
        await discovery.refresh(endpoints)
        await discovery.refresh(endpoints, force=True)
        assert len(server.requests) == 3
        assert discovery.stale(())
        assert discovery.report_for(server.base + "/") == first[0]


async def test_a_server_that_was_away_is_asked_again_soon(transport: Transport, unused_tcp_port: int) -> None:
    now = 100.0
    endpoints = (ServerEndpoint(f"http://127.0.0.1:{unused_tcp_port}", ServerKind.OLLAMA, ()),)
    discovery = Discovery(transport, lambda: now, max_age=60)
    await discovery.refresh(endpoints)
    assert not discovery.stale(endpoints)
    now += 5
    assert discovery.stale(endpoints)


@pytest.mark.parametrize(
    ("name", "full"),
    [("llama3", "llama3:latest"), ("llama3:8b", "llama3:8b"), ("host:5000/team/m", "host:5000/team/m:latest")],
)
def test_full_names(name: str, full: str) -> None:
    assert full_name(name) == full


def test_the_hosts_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# c\n127.0.0.1 localhost\n10.0.0.7\tGPU-Box gpu # the box\n\nfd00::7 gpu-box\n10.0.0.8 other#gpu-box\n"
    )
    assert hosts_file_addresses(["gpu-box", "nobody"], hosts) == {"gpu-box": ("10.0.0.7", "fd00::7")}
    assert hosts_file_addresses(["gpu-box"], tmp_path / "none") == {}
    assert isinstance(hosts_file_addresses(["localhost"]), dict)
