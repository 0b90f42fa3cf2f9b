"""A sidecar for tests of sessions: of its local models `small` answers and `scribe` summarises and captures."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.fakes.providers import FakeProvider, Recorded
from tests.fakes.sidecar import RunningSidecar, SseEvent, running_sidecar

PATH = "/api/v1/sessions"


@dataclass
class Lab:
    sidecar: RunningSidecar
    local: FakeProvider
    cloud: FakeProvider

    async def call(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        """The JSON of an answer with this status."""
        response = await self.sidecar.http.request(method, PATH + path, json=body or None)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def create(self, session_id: str = "s", workspace: str = "open", **more: Any) -> Any:
        return await self.call("POST", "", 201, id=session_id, workspace=workspace, **more)

    async def said(self, session_id: str = "s") -> list[Any]:
        answer = await self.call("GET", f"/{session_id}/messages")
        assert answer["next_after"] is None
        return list(answer["messages"])

    async def chat(self, query: str, session_id: str = "s", **more: Any) -> list[SseEvent]:
        return await self.sidecar.chat(query=query, session_id=session_id, **more)

    async def settled(self) -> None:
        """Until what runs after an answer has run."""
        await self.sidecar.services.chat.aclose()
        await self.sidecar.services.summaries.settled()

    def asked(self, place: int = -1, model: str = "small") -> list[Mapping[str, Any]]:
        """The messages a local model got: `small` answers, `scribe` summarises and captures."""
        return list(self.requests(model)[place].body["messages"])

    def requests(self, model: str) -> list[Recorded]:
        return [chat for chat in self.local.chats if chat.model == model]


def config(local: FakeProvider, cloud: FakeProvider) -> dict[str, Any]:
    return {
        "models": [
            {
                "id": "openai/big",
                "api_base": cloud.url + "/v1",
                "location": "cloud",
                "context_window": 200_000,
                "input_cost_per_million": 3,
                "output_cost_per_million": 15,
            },
            {"id": "ollama/small", "api_base": local.url, "context_window": 8192},
            {"id": "ollama/scribe", "api_base": local.url, "context_window": 8192},
        ],
        "rules": [
            {
                "name": "summaries",
                "conditions": {"task_type": ["summarization", "session_capture"]},
                "model": "ollama/scribe",
            },
            {
                "name": "cloudy",
                "conditions": {"task_type": "creative"},
                "model": "openai/big",
                "fallback": "ollama/small",
            },
            {"name": "all", "conditions": {}, "model": "ollama/small"},
        ],
        "models_extra": {"summarizer": "ollama/scribe"},
        # Within a request nothing is asked of the summariser: what it is asked here, it is asked after an answer.
        "routing_extra": {"retry": {"backoff_seconds": []}, "summary": {"max_wait_seconds": 0}},
    }


def talk(count: int, words: int = 12) -> list[dict[str, Any]]:
    """A conversation in which message `i` names `topic{i}`."""
    return [
        {
            "role": "user" if i % 2 == 0 else "assistant",
            "content": f"About topic{i} we said that it is number {i}. " + "More of the same. " * words,
        }
        for i in range(count)
    ]


def blocks(events: list[SseEvent]) -> list[dict[str, Any]]:
    return list(next(e for e in events if e.name == "context").data["blocks"])


@asynccontextmanager
async def session_lab(folder: Path) -> AsyncIterator[Lab]:
    with patch.dict(os.environ, OPENAI_API_KEY="sk-none-of-anybodys-business"):
        async with (
            FakeProvider(models={"small": 8192, "scribe": 8192}) as local,
            FakeProvider() as cloud,
            running_sidecar(folder, **config(local, cloud)) as sidecar,
        ):
            yield Lab(sidecar, local, cloud)
