"""A real llama.cpp, started by `EmbeddedModels` and asked over HTTP by our own transport."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import orjson
import pytest

from app.errors import ModelNotFound, Unreachable
from app.llm.discovery import ServerEndpoint, ServerKind, discover
from app.llm.embedded import EmbeddedModels
from app.llm.transport import Transport
from tests.engine.conftest import embedded_spec

pytestmark = pytest.mark.engine


@pytest.fixture
async def models() -> AsyncIterator[EmbeddedModels]:
    embedded = EmbeddedModels(threads=1)
    yield embedded
    await embedded.aclose()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport() as opened:
        yield opened


async def chat(transport: Transport, base: str, key: str, **body: Any) -> tuple[int, bytes]:
    question = orjson.dumps({"model": "tiny", **body})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with transport.post(f"{base}/chat/completions", headers, question, local=True) as response:
        return response.status, b"".join([data async for data in response.chunks()])


async def test_it_streams_with_exact_usage(models: EmbeddedModels, transport: Transport, tiny_gguf: Path) -> None:
    base, key = await models.ensure(embedded_spec(tiny_gguf))
    status, stream = await chat(
        transport,
        base,
        key,
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert status == 200
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n\n") if line]
    assert lines[-1] == b"[DONE]"
    events = [orjson.loads(line) for line in lines[:-1]]
    usage = next(event["usage"] for event in events if event.get("usage"))
    # "<s>[user] hello\n[assistant] ": no token is a word of it but "▁", so each character and the mark counts.
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (len("▁[user] hello\n[assistant] ") + 1, 12)
    assert any(event["choices"] and event["choices"][0]["delta"].get("content") for event in events)


async def test_json_schema_binds_even_random_weights(
    models: EmbeddedModels, transport: Transport, tiny_gguf: Path
) -> None:
    schema = {
        "type": "object",
        "properties": {"done": {"type": "boolean"}, "kind": {"enum": ["bug", "idea"]}},
        "required": ["done", "kind"],
        "additionalProperties": False,
    }
    base, key = await models.ensure(embedded_spec(tiny_gguf))
    status, answer = await chat(
        transport,
        base,
        key,
        messages=[{"role": "user", "content": "classify"}],
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "label", "schema": schema}},
    )
    assert status == 200
    jsonschema.validate(orjson.loads(orjson.loads(answer)["choices"][0]["message"]["content"]), schema)


async def test_a_prompt_over_the_window_is_refused_with_the_numbers(
    models: EmbeddedModels, transport: Transport, tiny_gguf: Path
) -> None:
    base, key = await models.ensure(embedded_spec(tiny_gguf, window=512))
    status, answer = await chat(transport, base, key, messages=[{"role": "user", "content": "x " * 600}], max_tokens=4)
    error = orjson.loads(answer)["error"]
    assert (status, error["type"], error["n_ctx"]) == (400, "exceed_context_size_error", 512)


async def test_each_of_two_requests_has_the_whole_window(
    models: EmbeddedModels, transport: Transport, tiny_gguf: Path
) -> None:
    base, key = await models.ensure(embedded_spec(tiny_gguf, window=512))
    prompt = [{"role": "user", "content": "x" * 400}]
    answers = [await chat(transport, base, key, messages=prompt, max_tokens=4) for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200]


async def test_nobody_without_the_key_is_answered(
    models: EmbeddedModels, transport: Transport, tiny_gguf: Path
) -> None:
    base, key = await models.ensure(embedded_spec(tiny_gguf))
    assert urlsplit(base).hostname == "127.0.0.1"
    status, _ = await chat(transport, base, key + "x", messages=[{"role": "user", "content": "hello"}])
    assert status == 401


async def test_a_model_is_started_once_and_stopped_at_the_end(tiny_gguf: Path) -> None:
    models = EmbeddedModels(threads=1)
    first = asyncio.create_task(models.ensure(embedded_spec(tiny_gguf)))
    await asyncio.sleep(0)
    first.cancel()  # the server started for a caller that left serves the next one
    servers = await asyncio.gather(*(models.ensure(embedded_spec(tiny_gguf)) for _ in range(4)))
    other = await models.ensure(embedded_spec(tiny_gguf, name="other"))
    assert len(set(servers)) == 1
    assert other not in servers
    await models.aclose()
    await models.aclose()
    for base, _ in (servers[0], other):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", urlsplit(base).port or 0), timeout=1)
    with pytest.raises(Unreachable, match="shutting down"):
        await models.ensure(embedded_spec(tiny_gguf))


async def test_discovery_reads_the_window_it_serves(
    models: EmbeddedModels, transport: Transport, tiny_gguf: Path
) -> None:
    base, key = await models.ensure(embedded_spec(tiny_gguf, window=768))

    async def key_of(_name: str) -> str:
        return key

    endpoint = ServerEndpoint(base, ServerKind.OPENAI, ("tiny",), "TINY_KEY")
    (report,) = await discover([endpoint], transport, key_of)
    model = report.find("tiny")
    assert report.problem is None
    assert model is not None
    assert model.context_window == 768


async def test_files_that_are_no_models(models: EmbeddedModels, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`: make embedded")
    text, torso = tmp_path / "notes.gguf", tmp_path / "torso.gguf"
    text.write_text("hello")
    torso.write_bytes(b"GGUF\x03\x00\x00\x00")
    for path, words in (
        (None, "gguf: <path>"),
        (tmp_path / "none.gguf", "cannot be read"),
        (tmp_path, "cannot be read"),
        (text, "is not a GGUF file"),
        (torso, "cannot load"),
    ):
        with pytest.raises(ModelNotFound, match=words):
            await models.ensure(embedded_spec(path))
