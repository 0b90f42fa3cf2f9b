"""One sidecar and one fake model server with a model on every wire, for tests that share both.

    async with laboratory(tmp_path) as lab:
        events = await lab.chat(query="hello", model="openai/priced")
        assert lab.sent["temperature"] == 0.3      # what the model's server received last

Each test starts with `lab.reset()`, so that scripts and recorded requests are its own; rows are told apart by their
request's id. A test that lets a model fail takes a model of its own, because models that fail come to rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from app.api.sse import Patience
from tests.fakes.providers import FakeProvider, Recorded
from tests.fakes.sidecar import RunningSidecar, SseEvent, running_sidecar

KEY = "sk-laboratory-key-0123456789abcdefghij"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
MAX_STREAMS = 3
WIRES = ("ollama/small", "openai/priced", "hosted_vllm/served", "anthropic/careful", "gemini/gemini-2.0-flash")
"""A model of each wire."""


def model_entries(url: str) -> list[dict[str, Any]]:
    remote = {"location": "cloud", "api_key_env": "LAB_KEY", "context_window": 128_000}
    price = {"input_cost_per_million": 2, "output_cost_per_million": 10, "cached_input_cost_per_million": 0.5}
    eyes = {"supports": ["images", "tools", "response_format"]}
    local = {"api_base": url, "context_window": 8192}
    return [
        {"id": "ollama/small", **local, **eyes},
        {"id": "ollama/tiny", "api_base": url, "context_window": 512},
        {"id": "ollama/blind", **local, "supports": []},
        {"id": "ollama/mystery", "api_base": url},
        {"id": "ollama/coder", **local, "params": {"keep_alive": "1h", "top_k": 7, "temperature": 0.9}},
        {"id": "ollama/listed", **local},
        {"id": "ollama/broken", **local},
        {"id": "ollama/silent", **local},
        {"id": "ollama/torn", **local},
        {"id": "openai/priced", "api_base": f"{url}/v1", **remote, **price, **eyes},
        {"id": "openai/unpriced", "api_base": f"{url}/v1", **remote},
        {"id": "hosted_vllm/served", "api_base": f"{url}/v1", "context_window": 8192, **eyes},
        {"id": "anthropic/careful", "api_base": url, **remote, **price, **eyes, "max_output_tokens": 4000},
        {"id": "gemini/gemini-2.0-flash", "api_base": url, **remote, **price, **eyes},
        {"id": "builtin/extractive", "context_window": 100_000},
    ]


RULES: list[dict[str, Any]] = [
    {
        "name": "tuned",
        "conditions": {"metadata.tier": "gold", "metadata.score": {"gte": 3}},
        "model": "ollama/coder",
        "params": {"top_k": 3, "temperature": 0.1},
        "max_output_tokens": 77,
    },
    {"name": "code", "conditions": {"task_type": "detect", "contains_code": True}, "model": "ollama/coder"},
    {"name": "pictures", "conditions": {"has_images": True, "task_type": "look"}, "model": "ollama/blind",
     "fallback": "ollama/small"},
    {"name": "narrow", "conditions": {"task_type": "narrow"}, "model": "ollama/tiny"},
    {"name": "away", "conditions": {"task_type": "away"}, "model": "openai/priced"},
    {"name": "broken", "conditions": {"task_type": "broken"}, "model": "ollama/broken"},
    {"name": "torn", "conditions": {"task_type": "torn"}, "model": "ollama/torn"},
    {
        "name": "hasty",
        "conditions": {"task_type": "hasty"},
        "model": "ollama/silent",
        "timeouts": {"total_seconds": 0.1},
    },
    {"name": "rest", "conditions": {"task_type": {"ne": "unruled"}}, "model": "ollama/small"},
]  # fmt: skip
LISTED = ("listed:latest", "small", "served", "priced", "coder")
"""What the model server says that it has; the others are asked all the same."""
PROFILES: list[dict[str, Any]] = [
    {"id": "open", "name": "Open", "system_prompt": "You are terse.", "timezone": "Europe/Berlin"},
    {"id": "work", "name": "Work", "block_cloud_apis": True},
    {"id": "shy", "block_cloud_apis": True, "local_fallback": "ollama/small"},
]


@dataclass
class Laboratory:
    sidecar: RunningSidecar
    provider: FakeProvider

    @property
    def http(self) -> httpx.AsyncClient:
        return self.sidecar.http

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last request a model's server received."""
        body: dict[str, Any] = self.provider.chats[-1].body
        return body

    @property
    def asked(self) -> list[Recorded]:
        return self.provider.chats

    async def chat(self, **body: Any) -> list[SseEvent]:
        return await self.sidecar.chat(**body)

    async def post(self, **body: Any) -> httpx.Response:
        return await self.http.post("/api/v1/chat", json=body)

    async def whole(self, **body: Any) -> dict[str, Any]:
        """The answer with `stream: false`."""
        response = await self.post(**body, stream=False)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def explain(self, **body: Any) -> dict[str, Any]:
        response = await self.http.post("/api/v1/explain", json=body)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def rows(self, request_id: str) -> list[dict[str, Any]]:
        rows = self.sidecar.rows()
        return [row for row in rows if row["request_id"] == request_id]

    def reset(self) -> None:
        self.provider.forget()
        self.sidecar.slept.clear()


@asynccontextmanager
async def keyed() -> AsyncIterator[None]:
    """With a key in `LAB_KEY`, for models of the cloud that are to be asked."""
    with patch.dict(os.environ, {"LAB_KEY": KEY}):
        yield


@asynccontextmanager
async def laboratory(
    folder: Path, *, patience: Patience | None = None, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[Laboratory]:
    async with (
        keyed(),
        FakeProvider(models=dict.fromkeys(LISTED, 8192)) as provider,
        running_sidecar(
            folder,
            settings={"max_streams": MAX_STREAMS, **(settings or {})},
            patience=patience,
            models=model_entries(provider.url),
            rules=RULES,
            profiles=PROFILES,
            default_workspace="open",
            models_extra={"upgrades": ["openai/priced"], "summarizer": "ollama/small"},
        ) as sidecar,
    ):
        yield Laboratory(sidecar, provider)


async def eventually(holds: Callable[[], bool], within: float = 3.0) -> None:
    """Return once `holds()`. Raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110  (what is waited for is in no event)
            await asyncio.sleep(0.01)


def text_of(events: list[SseEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "token")


def data_of(events: list[SseEvent], name: str) -> list[dict[str, Any]]:
    return [event.data for event in events if event.name == name]
