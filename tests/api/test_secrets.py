"""Keys, the token and what people write: in no log at any level, no answer, no row, whatever a provider says.

The sidecar is a process of its own here, logging all it can: what a library logs beside us counts as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.providers import CutMidStream, FakeProvider, KeyInError, MalformedChunk, Status, Step
from tests.fakes.sidecar import write_config

KEY = "sk-proj-Zq81LmXw09aaPlainlySecret4477"
ODD_KEY = "correct horse battery".replace(" ", "_") + "_7Q"
"""Of no provider's shape: only that it is known as a key can hide it."""
TOKEN = "token-of-this-sidecar-0123456789abcdef"
PROMPT = "the wine is under the stairs"
WIRES = {
    "openai/m": ("/v1", "SHAPED"),
    "anthropic/m": ("", "ODD"),
    "gemini/gemini-2.5-flash": ("", "SHAPED"),
    "hosted_vllm/m": ("/v1", "ODD"),
    "ollama/m": ("", "ODD"),
}
"""Where each wire is asked, and the variable of its key."""
KEYS = {"SHAPED": KEY, "ODD": ODD_KEY}


@dataclass
class Told:
    """Everything that came out of the sidecar."""

    answers: list[str] = field(default_factory=list)
    logs: str = ""
    stdout: str = ""
    stored: bytes = b""
    shown: str = ""
    """What the model's server saw: the control."""


def faults(key: str) -> list[Step]:
    body = json.dumps({"error": {"message": f"{PROMPT}: bad request with {key}", "type": "invalid_request_error"}})
    return [KeyInError(401), KeyInError(500), Status(400, body=body.encode()), CutMidStream(), MalformedChunk()]


@asynccontextmanager
async def serving(folder: Path, **env: str) -> AsyncIterator[tuple[str, Told]]:
    told = Told()
    own = {"SIDECAR_CONFIG_DIR": str(folder / "config"), "SIDECAR_DATA_DIR": str(folder / "data")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-m", "app", "serve", "--port", "0", "--log-level", "debug",
        env={**os.environ, **own, "SIDECAR_TOKEN": TOKEN, **env},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    ready = await process.stdout.readline()
    try:
        yield f"http://127.0.0.1:{json.loads(ready)['port']}", told
    finally:
        process.terminate()
        out, errors = await process.communicate()
        told.stdout, told.logs = (ready + out).decode(), errors.decode()
        told.stored = b"".join(f.read_bytes() for f in (folder / "data").rglob("*") if f.is_file())


async def hear(http: httpx.AsyncClient, told: Told, method: str, path: str, **given: Any) -> int:
    response = await http.request(method, path, **given)
    told.answers.append(response.text + repr(response.headers))
    return response.status_code


async def test_no_key_no_token_no_prompt_in_anything(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        write_config(
            tmp_path / "config",
            models=[
                {"id": wire, "api_base": provider.url + path, "api_key_env": name, "context_window": 8192}
                for wire, (path, name) in WIRES.items()
            ],
            rules=[{"name": "all", "conditions": {"metadata.never": True}, "model": "openai/m"}]
            + [{"name": wire.partition("/")[0], "conditions": {"task_type": wire.partition("/")[0]}, "model": wire}
               for wire in WIRES],
            routing_extra={"retry": {"backoff_seconds": []}},
        )  # fmt: skip
        async with (
            serving(tmp_path, **KEYS) as (url, told),
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
        ):
            assert await hear(http, told, "GET", f"/api/v1/models?token={TOKEN}") == 401
            assert await hear(http, told, "GET", "/api/v1/models", headers={"x-api-key": f"{TOKEN}x"}) == 401
            http.headers["Authorization"] = f"Bearer {TOKEN}"
            for wire, (_, name) in WIRES.items():
                for fault in faults(KEYS[name]):
                    for body in ({}, {"stream": False}):
                        provider.script(fault)
                        asked = {"query": PROMPT, "task_type": wire.partition("/")[0], **body}
                        await hear(http, told, "POST", "/api/v1/chat", json=asked)
            refused = {"query": PROMPT, "api_key": KEY, "metadata": {ODD_KEY: TOKEN}}
            assert await hear(http, told, "POST", "/api/v1/chat", json=refused) == 422
            for page in ("models", "rules", "profiles", "health", "usage", "usage/records"):
                assert await hear(http, told, "GET", f"/api/v1/{page}") == 200
        told.shown = repr([request.headers for request in provider.chats])
    assert KEY in told.shown, "the control: the keys were used"
    assert ODD_KEY in told.shown
    assert told.logs, "the control: something was logged"
    said = {"answers": "\n".join(told.answers), "logs": told.logs, "stdout": told.stdout}
    for secret in (KEY, ODD_KEY, TOKEN):
        assert [place for place, text in said.items() if secret in text] == [], secret
        assert secret.encode() not in told.stored
    assert PROMPT not in told.logs
    assert PROMPT.encode() not in told.stored
