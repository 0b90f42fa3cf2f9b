"""The `openai` package against a real llama.cpp behind the whole sidecar."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import openai
import pytest
import pytest_asyncio

from tests.engine.tiny_gguf import write_tiny_gguf
from tests.fakes.sidecar import TOKEN, RunningSidecar, running_sidecar

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

SCHEMA = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}},
    "required": ["done"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`: make embedded")
    folder: Path = tmp_path_factory.mktemp("engine")
    (folder / "config").mkdir()
    write_tiny_gguf(folder / "config" / "tiny.gguf")
    models = [
        {"id": name, "gguf": "tiny.gguf", "context_window": 512, "tokenizer": "llama2"}
        for name in ("embedded/tiny", "embedded/starcoder-tiny")
    ]
    rules = [{"name": "all", "conditions": {}, "model": "embedded/tiny"}]
    async with running_sidecar(folder, models=models, rules=rules) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(sidecar: RunningSidecar) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{sidecar.url}/v1", api_key=TOKEN, timeout=60) as client:
        yield client


async def test_a_chat_streams_and_is_metered(sidecar: RunningSidecar, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "hello"}],
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"X-Workspace": "work"},
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    row = sidecar.rows()[-1]
    assert (row["output_tokens"], row["location"], row["workspace_profile_id"]) == (12, "in_process", "work")


async def test_a_schema_binds_even_random_weights(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="embedded/tiny",
        messages=[{"role": "user", "content": "classify"}],
        response_format={"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}},
        max_tokens=100,
    )
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), SCHEMA)


@pytest.mark.parametrize(
    ("model", "suffix"),
    # Gone on with; a gap in words, for a model of no family that is known; a gap in a family's marks.
    [("embedded/tiny", None), ("embedded/tiny", "def f"), ("embedded/starcoder-tiny", "def f")],
)
async def test_a_completion(
    sidecar: RunningSidecar, client: openai.AsyncOpenAI, model: str, suffix: str | None
) -> None:
    answer = await client.completions.create(model=model, prompt="abc", suffix=suffix, max_tokens=6, temperature=0)
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 6
    row = sidecar.rows()[-1]
    assert (row["task_type"], row["status"]) == ("completion", "ok")
    marks = "<fim_prefix>abc<fim_suffix>def f<fim_middle>"
    expected = {None: len("abc"), "def f": len(marks)}[suffix]
    if suffix is None or "starcoder" in model:
        # Every character is a token of this model's, and a mark of the start may come before.
        assert expected <= answer.usage.prompt_tokens <= expected + 2
