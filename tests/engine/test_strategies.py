"""Strategies 1, 2 and 3 with a real llama.cpp inside the sidecar, over HTTP.

Its model has random weights and a vocabulary of characters, so what it says means nothing and what it counts is exact:
a little less than a token a byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.tiny_gguf import write_tiny_gguf
from tests.fakes.sidecar import RunningSidecar, SseEvent, running_sidecar

pytestmark = pytest.mark.engine

SMALL, LARGE = "embedded/small", "embedded/large"
QUESTION = {"query": "Why does it fail?", "max_output_tokens": 16}


@pytest.fixture(scope="module")
def roomy_gguf(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path) -> Path:
    """Like `tiny_gguf`, trained for the windows these tests declare."""
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "roomy.gguf", trained_window=5_120)


@asynccontextmanager
async def sidecar_with(folder: Path, gguf: Path, *, upgrades: Sequence[str] = ()) -> AsyncIterator[RunningSidecar]:
    shared = {"gguf": str(gguf), "tokenizer": "bytes", "max_output_tokens": 24}
    async with running_sidecar(
        folder,
        models=[
            {"id": SMALL, **shared, "context_window": 2_048},
            {"id": LARGE, **shared, "context_window": 5_120},
        ],
        rules=[{"name": "all", "conditions": {}, "model": SMALL}],
        profiles=[{"id": "work", "block_cloud_apis": True}],
        models_extra={"upgrades": list(upgrades), "summarizer": SMALL},
        routing_extra={"retry": {"backoff_seconds": []}, "summary": {"max_wait_seconds": 30}},
    ) as sidecar:
        yield sidecar


def talk(count: int, characters: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [
        {"role": roles[i % 2], "content": f"Message {i}: " + "checked and fine. " * (characters // 18)}
        for i in range(count)
    ]


def last_context(events: Sequence[SseEvent]) -> Mapping[str, Any]:
    return [event.data for event in events if event.name == "context"][-1]


def outcomes(context: Mapping[str, Any], kind: str) -> list[str]:
    return [block["outcome"] for block in context["blocks"] if block["kind"] == kind]


async def test_truncate(tmp_path: Path, roomy_gguf: Path) -> None:
    async with sidecar_with(tmp_path, roomy_gguf) as sidecar:
        chunks = [{"path": f"p{i}.py", "text": f"x{i} = 1\n" * 45, "similarity": 0.9 - i / 100} for i in range(12)]
        events = await sidecar.chat(**QUESTION, context={"chunks": chunks, "history": talk(3, 200)})
    context, done = last_context(events), events[-1]
    assert done.name == "done"
    assert outcomes(context, "chunk")[:3] == ["kept"] * 3
    assert "dropped" in outcomes(context, "chunk")
    assert outcomes(context, "history") == ["kept"] * 3
    # What was predicted, and what the engine counted in the window it was given.
    assert done.data["input_tokens"] == pytest.approx(context["input_tokens"], rel=0.15)
    assert done.data["input_tokens"] + context["reserved_output"] <= context["window"]


async def test_upgrade(tmp_path: Path, roomy_gguf: Path) -> None:
    body = {**QUESTION, "context": {"history": talk(5, 430)}}
    async with sidecar_with(tmp_path, roomy_gguf, upgrades=[LARGE]) as sidecar:
        events = await sidecar.chat(**body)
        rows = sidecar.rows()
    context = last_context(events)
    assert (context["model"], context["upgraded_from"]) == (LARGE, SMALL)
    assert outcomes(context, "history") == ["kept"] * 5
    assert events[-1].data["input_tokens"] > 2_048
    assert [row["model"] for row in rows] == [LARGE]


async def test_summarise(tmp_path: Path, roomy_gguf: Path) -> None:
    async with sidecar_with(tmp_path, roomy_gguf) as sidecar:
        events = await sidecar.chat(**QUESTION, context={"history": talk(30, 150)})
        rows = sidecar.rows()
    context, done = last_context(events), events[-1]
    assert done.name == "done"
    assert outcomes(context, "summary") == ["kept"]
    assert "summarised" in outcomes(context, "history")
    assert [b["outcome"] for b in context["blocks"] if b["kind"] == "history" and b["priority"] == 2] == ["kept"] * 5
    assert [(row["agent"], row["model"], row["status"]) for row in rows] == [
        ("summarizer", SMALL, "ok"),
        (None, SMALL, "ok"),
    ]
    assert rows[0]["request_id"] != rows[1]["request_id"]
    assert done.data["input_tokens"] + context["reserved_output"] <= context["window"]


async def test_a_window_the_engine_does_not_have_is_found_out(tmp_path: Path, tiny_gguf: Path) -> None:
    """Trained for 2,048 tokens and declared with 5,120: its refusal says so, and the prompt is built by that."""
    async with sidecar_with(tmp_path, tiny_gguf) as sidecar:
        events = await sidecar.chat(**QUESTION, model=LARGE, context={"history": talk(5, 550)})
    assert [event.name for event in events[:4]] == ["route", "context", "attempt", "context"]
    assert events[2].data["code"] == "context_overflow"
    assert (events[-1].name, events[-1].data["model"]) == ("done", LARGE)
    assert 1_000 < events[-1].data["input_tokens"] < 2_048
