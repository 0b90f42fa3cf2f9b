"""The whole way for `bench.history_recall`: conversations stored as sessions of a running sidecar, asked over HTTP.

Each conversation is created by `POST /api/v1/sessions`, each question goes to `POST /api/v1/explain` with its
`session_id` and `include_messages`. A turn counts as held where its block is kept *and* its text stands in the messages
that would be sent. "newest first" is the same endpoint given the same messages as `context.history`: what is not stored
has no embeddings, and goes by age. One model per budget: its window is the budget and the room for the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, running_sidecar

if TYPE_CHECKING:
    from bench.history_recall import Conversation, Question

ANSWER_TOKENS = 256
NEWEST_FIRST, STORED = "newest first", "stored session"


@asynccontextmanager
async def sidecar(folder: Path, budgets: Sequence[int]) -> AsyncIterator[RunningSidecar]:
    """A sidecar with a local model `ollama/in{budget}` for each budget, and nothing to upgrade to."""
    windows = {f"in{budget}": budget + ANSWER_TOKENS for budget in budgets}
    async with FakeProvider(models=windows) as provider:
        models = [
            {"id": f"ollama/{name}", "api_base": provider.url, "context_window": window, "tokenizer": "cl100k"}
            for name, window in windows.items()
        ]
        rules = [{"name": "all", "conditions": {}, "model": models[0]["id"]}]
        async with running_sidecar(folder, models=models, rules=rules) as running:
            await running.services.embedder.load()
            yield running


async def store(running: RunningSidecar, conversation: Conversation) -> None:
    """Raises `RuntimeError` where it is refused, or found by words alone."""
    messages = [
        {**message, "created_at": turn.created_at.isoformat() if turn.created_at else None}
        for message, turn in zip(conversation.messages(), conversation.turns, strict=True)
    ]
    await _post(running, "/api/v1/sessions", {"id": conversation.name, "workspace": "open"})
    stored = await _post(running, f"/api/v1/sessions/{conversation.name}/messages", {"messages": messages})
    if stored["searchable"] != "meaning and words":
        raise RuntimeError(f"conversation {conversation.name} is searchable by {stored['searchable']} alone")


async def held(
    running: RunningSidecar, way: str, conversation: Conversation, question: Question, budget: int
) -> frozenset[int]:
    """Which turns (positions) the context that would be sent holds whole."""
    messages = conversation.messages()
    offered: dict[str, Any] = (
        {"session_id": conversation.name}
        if way == STORED
        else {"workspace": "open", "context": {"history": messages}, "contains_code": False}
    )
    body = {
        **offered,
        "query": question.text,
        "model": f"ollama/in{budget}",
        "max_output_tokens": ANSWER_TOKENS,
        "include_messages": True,
    }
    explained = await _post(running, "/api/v1/explain", body)
    context = explained["candidates"][0]["context"]
    if context["input_tokens"] > budget:
        raise RuntimeError(f"{context['input_tokens']} tokens in a budget of {budget}")
    sent = {message["content"] for message in explained["messages"]}
    kept = (b["id"] for b in context["blocks"] if b["kind"] == "history" and b["outcome"] == "kept")
    places = (int(name.partition(":")[2]) for name in kept)
    return frozenset(place for place in places if messages[place]["content"] in sent)


async def _post(running: RunningSidecar, path: str, body: Mapping[str, Any]) -> Any:
    response = await running.http.post(path, json=body, timeout=300)
    if response.status_code >= 400:
        raise RuntimeError(f"{path}: {response.status_code} {response.text[:500]}")
    return response.json()
