"""A real llama.cpp behind the whole sidecar: an `embedded/…` model of models.yaml, asked over HTTP like any other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import pytest
import pytest_asyncio

from tests.engine.tiny_gguf import write_tiny_gguf
from tests.fakes.laboratory import data_of, text_of
from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

SCHEMA = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}, "kind": {"enum": ["bug", "idea"]}},
    "required": ["done", "kind"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    """The GGUF file stands beside models.yaml, which names it by a relative path."""
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`: make embedded")
    folder: Path = tmp_path_factory.mktemp("engine")
    (folder / "config").mkdir()
    write_tiny_gguf(folder / "config" / "tiny.gguf")
    async with running_sidecar(
        folder,
        models=[
            {"id": "embedded/tiny", "gguf": "tiny.gguf", "context_window": 512, "tokenizer": "llama2"},
            {"id": "embedded/misjudged", "gguf": "tiny.gguf", "context_window": 512, "tokenizer": "gpt-4o"},
            {"id": "embedded/gone", "gguf": "gone.gguf", "context_window": 512},
            {"id": "builtin/extractive", "context_window": 100_000},
        ],
        rules=[{"name": "all", "conditions": {}, "model": "embedded/tiny", "fallback": "builtin/extractive"}],
    ) as running:
        yield running


async def test_it_streams_and_the_row_has_what_it_counted(sidecar: RunningSidecar) -> None:
    events = await sidecar.chat(query="hello", workspace="work", max_output_tokens=12)
    done = events[-1].data
    assert (events[-1].name, done["model"], done["location"]) == ("done", "embedded/tiny", "in_process")
    assert len(data_of(events, "token")) > 1, "a stream"
    assert text_of(events)
    # Its template and its vocabulary are the test's own: every character is a token, the mark of the start another.
    assert (done["input_tokens"], done["output_tokens"]) == (len("▁[user] hello\n[assistant] ") + 1, 12)
    assert (done["finish_reason"], done["cost_usd"]) == ("length", 0)
    (row,) = [r for r in sidecar.rows() if r["request_id"] == events[0].data["request_id"]]
    assert (row["input_tokens"], row["output_tokens"], row["cost_source"]) == (done["input_tokens"], 12, "computed")
    assert (row["provider"], row["location"], row["status"]) == ("embedded", "in_process", "ok")


async def test_the_whole_answer_as_json(sidecar: RunningSidecar) -> None:
    response = await sidecar.http.post(
        "/api/v1/chat", json={"query": "hello", "max_output_tokens": 4, "stream": False, "temperature": 0}
    )
    assert response.status_code == 200, response.text
    assert (response.json()["model"], response.json()["output_tokens"]) == ("embedded/tiny", 4)


async def test_a_schema_binds_even_random_weights(sidecar: RunningSidecar) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}
    events = await sidecar.chat(query="classify", response_format=shape, max_output_tokens=200)
    assert events[-1].data["model"] == "embedded/tiny"
    jsonschema.validate(json.loads(text_of(events)), SCHEMA)


async def test_a_prompt_it_calls_too_long_goes_to_the_next(sidecar: RunningSidecar) -> None:
    """Our count says that it fits (another vocabulary), the engine says that it does not."""
    events = await sidecar.chat(query="abcdefghij " * 80, model="embedded/misjudged", max_output_tokens=16)
    failed = data_of(events, "attempt")
    assert {event["code"] for event in failed} == {"context_overflow"}
    assert failed[0]["model"] == "embedded/misjudged"
    assert events[-1].name == "done"
    assert events[-1].data["model"] == "builtin/extractive"
    rows = [r for r in sidecar.rows() if r["request_id"] == events[0].data["request_id"]]
    assert rows[0]["error_code"] == "context_overflow"
    assert rows[-1]["status"] == "ok"


async def test_a_file_that_is_gone_goes_to_the_next_with_the_reason(sidecar: RunningSidecar) -> None:
    events = await sidecar.chat(query="hello", model="embedded/gone")
    (failed,) = data_of(events, "attempt")
    assert (failed["model"], failed["outcome"], failed["code"]) == ("embedded/gone", "falling_back", "model_not_found")
    assert "gone.gguf" in failed["reason"]
    assert events[-1].data["model"] == "embedded/tiny"
