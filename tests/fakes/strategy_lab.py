"""A sidecar whose small model cannot hold what it is sent, a larger one in the cloud, and one that summarises.

With it the two requests of the design's sections 3 and 4: `FITS` are 4,700 tokens that fit 8,192, `DOES_NOT_FIT` are
17,000 (21,000 with the answer) that do not.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from app.context.tokens import TokenCounter
from tests.fakes.providers import FakeProvider, Recorded, Reply
from tests.fakes.sidecar import RunningSidecar, SseEvent, running_sidecar

SMALL, CLOUD, SCRIBE = "ollama/llama3:8b", "anthropic/big", "ollama/scribe"
SUMMARY = "They chased an out-of-memory error and fixed it with gradient accumulation."
ONE_TRY: dict[str, Any] = {"retry": {"backoff_seconds": []}}
COUNTER = TokenCounter()
COUNTER.load()


def text(tokens: int, about: str) -> str:
    """About so many Llama 3 tokens in lines that occur nowhere else."""
    lines: list[str] = []
    while COUNTER.count("\n".join(lines), "llama3") < tokens - 8:
        lines.append(f"{about}: entry {len(lines)} was checked and looked as it should.")
    return "\n".join(lines)


def talk(count: int, tokens: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text(tokens, f"Message {i}")} for i in range(count)]


def chunks(count: int, tokens: int) -> list[dict[str, Any]]:
    return [
        {"path": f"src/part{i}.py", "text": text(tokens, f"part {i}"), "similarity": round(0.95 - 0.02 * i, 2)}
        for i in range(count)
    ]


def entities(count: int, tokens: int) -> list[dict[str, Any]]:
    return [{"name": f"Entity{i}", "summary": text(tokens, f"E{i}"), "hops": 1} for i in range(count)]


FITS: dict[str, Any] = {
    "query": text(100, "Question"),
    "context": {
        "session_state": {"goal": text(780, "Goal")},
        "chunks": chunks(5, 290),
        "history": talk(10, 115),
        "entities": entities(5, 110),
    },
}
DOES_NOT_FIT: dict[str, Any] = {
    "query": text(790, "Question with code"),
    "task_type": "debugging",
    "context": {
        "session_state": {"goal": text(780, "Goal")},
        "chunks": chunks(20, 290),
        "file": {"path": "src/train.py", "text": text(2_980, "line"), "line": 40},
        "stacktrace": "Traceback (most recent call last):\n"
        + "".join(f'  File "src/m{i}.py", line {i}, in f{i}\n    call_{i}(value)\n' for i in range(1, 26))
        + "RuntimeError: CUDA out of memory",
        "history": talk(30, 135),
        "entities": entities(10, 110),
    },
}


@dataclass
class Lab:
    sidecar: RunningSidecar
    provider: FakeProvider

    async def chat(self, **body: Any) -> list[SseEvent]:
        return await self.sidecar.chat(**body)

    def asked(self, model: str) -> list[Recorded]:
        name = model.partition("/")[2]
        return [request for request in self.provider.chats if request.model == name]


@asynccontextmanager
async def lab_with(
    folder: Path,
    *,
    summarizer: str | None = SCRIBE,
    wait: float = 5,
    routing: Mapping[str, Any] | None = None,
    upgrades: Sequence[str] = (CLOUD,),
) -> AsyncIterator[Lab]:
    async with FakeProvider(models={"llama3:8b": 8192, "scribe": 8192, "big": 200_000}) as provider:
        provider.always(Reply((SUMMARY,)), model="scribe")
        local = {"context_window": 8192, "max_output_tokens": 2048, "tokenizer": "llama3"}
        cloud = {"api_base": provider.url, "location": "cloud", "context_window": 200_000}
        async with running_sidecar(
            folder,
            models=[
                {"id": SMALL, **local},
                {"id": SCRIBE, **local},
                {"id": "ollama/absent", **local, "context_window": 200_000},
                {"id": CLOUD, **cloud, "max_output_tokens": 8_192},
                {"id": "hosted_vllm/served", **local, "api_base": f"{provider.url}/v1"},
                {"id": "openai/remote", **local, "api_base": f"{provider.url}/v1", "location": "cloud"},
                {"id": "anthropic/middling", **local, "api_base": provider.url, "location": "cloud"},
                {"id": "gemini/gemini-2.0-flash", **local, "api_base": provider.url, "location": "cloud"},
            ],
            rules=[{"name": "all", "conditions": {}, "model": SMALL}],
            profiles=[
                {"id": "open", "system_prompt": text(490, "Rule")},
                {"id": "work", "system_prompt": text(490, "Rule"), "block_cloud_apis": True},
            ],
            models_extra={
                # One call at a time: a request that held its slot while its summary is written would never end.
                "providers": {"ollama": {"api_base": provider.url, "concurrency": 1}},
                "upgrades": list(upgrades),
                **({"summarizer": summarizer} if summarizer else {}),
            },
            routing_extra={"summary": {"max_wait_seconds": wait}, **(routing or {})},
        ) as sidecar:
            yield Lab(sidecar, provider)


def context_of(events: Sequence[SseEvent]) -> dict[str, Any]:
    return [event.data for event in events if event.name == "context"][-1]


def ids(context: Mapping[str, Any], outcome: str, kind: str | None = None) -> list[str]:
    return [b["id"] for b in context["blocks"] if b["outcome"] == outcome and kind in (None, b["kind"])]


def prompt(request: Recorded) -> str:
    return json.dumps(request.body, ensure_ascii=False)


@asynccontextmanager
async def lab_with_keys(folder: Path) -> AsyncIterator[Lab]:
    """One whose cloud models can be asked."""
    names = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
    with patch.dict(os.environ, dict.fromkeys(names, "sk-test-key-0123456789abcdef")):
        async with lab_with(folder) as made:
            yield made
