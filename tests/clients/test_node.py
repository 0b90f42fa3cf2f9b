"""The npm package `openai`, unmodified, under Node against a whole sidecar (without Node: see `tests.clients.npm`)."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clients import npm
from tests.fakes.laboratory import Laboratory, eventually
from tests.fakes.providers import CutMidStream, Reply, ToolCall
from tests.fakes.sidecar import TOKEN

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Node, and a copy of the folder with the package installed by its lock file."""
    folder = tmp_path_factory.mktemp("node") / "client"
    npm.install(FOLDER, folder)
    return npm.find("node"), folder


async def run(lab: Laboratory, node: tuple[str, Path], *steps: str) -> dict[str, Any]:
    program, folder = node
    process = await asyncio.create_subprocess_exec(
        *(program, "client.mjs", *steps),
        cwd=folder,
        env={**os.environ, "BASE_URL": f"{lab.sidecar.url}/v1", "API_KEY": TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    seen: dict[str, Any] = json.loads(said)
    return seen


async def test_chat_streams_completions_and_models(lab: Laboratory, node: tuple[str, Path]) -> None:
    seen = await run(lab, node, "whole", "stream", "completion", "models")
    text = "Hello from the fake provider."
    assert seen["whole"]["text"] == seen["stream"]["text"] == seen["completion"] == text
    assert seen["whole"]["finish"] == "stop"
    assert seen["whole"]["usage"]["completion_tokens"] == seen["stream"]["usage"]["completion_tokens"] == 6
    assert seen["models"][0] == "auto"


async def test_tools_and_structured_output(lab: Laboratory, node: tuple[str, Path]) -> None:
    called = Reply(text=(), tool_calls=(ToolCall("weather", '{"city": "Oslo"}'),))
    lab.provider.script(called, Reply(text=("It rains.",)), Reply(text=('{"day": 3}',)))
    seen = await run(lab, node, "tools", "structured")
    assert seen["tools"] == {
        "finish": "tool_calls",
        "name": "weather",
        "arguments": {"city": "Oslo"},
        "text": "It rains.",
    }
    assert seen["structured"] == {"day": 3}


async def test_errors_are_the_packages_own(lab: Laboratory, node: tuple[str, Path]) -> None:
    lab.provider.script(CutMidStream(after=2), model="torn")
    seen = (await run(lab, node, "errors"))["errors"]
    assert seen["key"] == {"kind": "AuthenticationError", "status": 401, "code": "invalid_api_key"}
    assert seen["model"] == {"kind": "NotFoundError", "status": 404, "code": "model_not_found"}
    assert seen["body"] == {"kind": "BadRequestError", "status": 400, "code": "invalid_request"}
    assert (seen["torn"]["kind"], seen["torn"]["code"]) == ("APIError", "stream_interrupted")


async def test_leaving_a_stream_closes_the_upstream(lab: Laboratory, node: tuple[str, Path]) -> None:
    lab.provider.script(Reply(text=tuple("abcdefgh" * 100), delay=0.02), model="coder")
    seen = await run(lab, node, "cancellation")
    assert seen["cancellation"] is True
    await lab.provider.client_left(within=3.0)
    await eventually(lambda: lab.sidecar.rows()[-1]["status"] == "cancelled")
