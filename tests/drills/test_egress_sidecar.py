"""The egress proof for the whole sidecar, in a network of its own: see `tests.drills.outside`.

Everything that can point outside does: rules, fallbacks, upgrades, the summariser, proxies and base addresses in the
environment, addresses by name. What a private workspace asks stays here; the control, a public one, gets out.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

import app
from tests.drills.outside import ROOT, Outside, run_scenario, why_not
from tests.fakes.laboratory import PIXEL
from tests.fakes.providers import FakeProvider, Status
from tests.fakes.sidecar import TOKEN, RunningSidecar, running_sidecar

AWAY = ["openai/leak", "ollama/leak", "hosted_vllm/named", "anthropic/leak", "gemini/gemini-2.5-flash", "groq/leak"]


@pytest.fixture(autouse=True)
def _namespace() -> None:
    if reason := why_not():
        pytest.skip(f"no network namespace: {reason}")


def hostile(outside: Outside) -> dict[str, str]:
    """An environment in which every setting that moves a call points outside."""
    proxies = {f"{scheme}_proxy": outside.url for scheme in ("http", "https", "all")}
    bases = ("OPENAI_BASE_URL", "OPENAI_API_BASE", "GROQ_API_BASE", "HOSTED_VLLM_API_BASE", "LITELLM_API_BASE")
    hosts = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "OLLAMA_HOST", "OLLAMA_API_BASE", "HF_ENDPOINT")
    keys = {f"{name}_API_KEY": f"sk-{name.lower()}" for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GROQ")}
    upper = {name.upper(): value for name, value in proxies.items()}
    moved = dict.fromkeys(bases, f"{outside.url}/v1") | dict.fromkeys(hosts, outside.url)
    return {**proxies, **upper, **moved, **keys}


@asynccontextmanager
async def pulled_outside(outside: Outside) -> AsyncIterator[tuple[RunningSidecar, FakeProvider]]:
    os.environ.update(hostile(outside))
    named = f"http://models.example.com:{outside.port}/v1"
    places = {"hosted_vllm/named": {"api_base": named}}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            FakeProvider(models={"small": 8192}) as local,
            running_sidecar(
                Path(folder),
                models=[
                    *({"id": name, "context_window": 200_000, **places.get(name, {})} for name in AWAY),
                    {"id": "ollama/small", "api_base": local.url, "context_window": 4096, "supports": ["images"]},
                ],
                rules=[
                    {"name": "away", "conditions": {"task_type": "away"}, "model": AWAY[0], "fallback": AWAY[1:]},
                    {"name": "all", "conditions": {}, "model": AWAY[0], "fallback": [*AWAY[1:], "ollama/small"]},
                ],
                models_extra={"upgrades": AWAY, "summarizer": "openai/leak"},
                routing_extra={"timeouts": {"first_token_seconds": 3}},
            ) as sidecar,
        ):
            yield sidecar, local


def requests() -> list[dict[str, Any]]:
    """Questions that would like to leave: too large, with a long history, with pictures, with a wish, without a way."""
    chunks = [{"text": f"def f{i}():\n    return {i}\n" * 60, "path": f"m{i}.py", "similarity": 0.9} for i in range(9)]
    history = [{"role": "user", "content": f"{i}: and then? " + "well " * 60} for i in range(40)]
    pictures = [
        {"type": "image_url", "image_url": {"url": url}} for url in (PIXEL, "https://pictures.example.org/c.png")
    ]
    return [
        {"query": "hi"},
        {"query": "hi", "context": {"chunks": chunks, "history": history}},
        {"messages": [{"role": "user", "content": [pictures[0]]}]},
        {"messages": [{"role": "user", "content": [pictures[1]]}]},
        {"query": "hi", "model": "openai/leak"},
        {"query": "hi", "model": "ollama/gpt-oss:120b-cloud"},
        {"query": "hi", "model": "hosted_vllm/elsewhere"},
        {"query": "hi", "task_type": "away"},
    ]


async def answers(sidecar: RunningSidecar, workspace: str) -> list[str]:
    """Of each request: who answered, or the code of what went wrong."""
    found = []
    for body in requests():
        response = await sidecar.http.post("/api/v1/chat", json={**body, "workspace": workspace, "stream": False})
        answer = response.json()
        found.append(str(answer.get("code") or answer["model"]))
    return found


async def asked(outside: Outside) -> dict[str, Any]:
    """First everything privately, and what the outside has seen of it; then the same publicly."""
    async with pulled_outside(outside) as (sidecar, local):
        chats = await answers(sidecar, "work")
        local.script(*[Status(500)] * 4)
        failed = await sidecar.chat(query="hi", workspace="work")
        explained = [
            (await sidecar.http.post("/api/v1/explain", json={**body, "workspace": "work"})).status_code
            for body in requests()
        ]
        pages = [(await sidecar.http.get(f"/api/v1/{page}")).status_code for page in ("models", "health", "usage")]
        locations = {m["id"]: m["location"] for m in (await sidecar.http.get("/api/v1/models")).json()["models"]}
        await asyncio.sleep(0.1)
        return {
            "chats": chats,
            "failed": failed[-1].data["code"],
            "explained": explained,
            "pages": pages,
            "locations": locations,
            "asked_here": len(local.chats),
            "seen": asdict(outside),
            "publicly": await answers(sidecar, "open"),
        }


async def start_up(outside: Outside) -> dict[str, Any]:
    """Import every module; start the program with the files that ship; ask it; end it."""
    os.environ.update(hostile(outside))
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        own = {"SIDECAR_CONFIG_DIR": str(ROOT / "config"), "SIDECAR_DATA_DIR": folder, "HOME": folder}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "serve", "--port", "0",
            env={**os.environ, **own, "SIDECAR_TOKEN": TOKEN},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        headers = {"Authorization": f"Bearer {TOKEN}"}
        base = f"http://127.0.0.1:{ready['port']}"
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=20) as http:
            body = {"query": "hi", "workspace": "work", "stream": False}
            answer = (await http.post("/api/v1/chat", json=body)).json()
            await http.post("/api/v1/explain", json={"query": "hi", "workspace": "work"})
            state = "starting"
            async with asyncio.timeout(20):
                while state == "starting":
                    await asyncio.sleep(0.1)
                    state = (await http.get("/api/v1/health")).json()["parts"]["litellm"]["status"]
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        return {"model": answer.get("model"), "litellm": state, "exit": process.returncode}


def test_nothing_a_private_workspace_asks_gets_outside() -> None:
    answer = run_scenario(f"{__name__}:asked")
    found, here, refused = answer["result"], "ollama/small", "no_permitted_model"
    assert (found["seen"]["connections"], found["seen"]["requests"], found["seen"]["lookups"]) == (0, [], [])
    assert found["chats"] == [here, here, here, "all_candidates_failed", refused, refused, refused, refused]
    assert found["failed"] == "all_candidates_failed"
    assert found["explained"] == [200] * 4 + [403] * 4
    assert found["pages"] == [200] * 3
    assert {found["locations"][name] for name in AWAY} == {"cloud"}
    assert found["asked_here"] >= 7, "the local model was asked"

    seen = answer["outside"]  # the control: the same requests from a public workspace
    assert seen["connections"] >= len(AWAY)
    reached = " ".join(seen["requests"])
    for mark in ("/v1/chat/completions", "/v1/messages", "models.example.com", "generativelanguage.googleapis.com"):
        assert mark in reached, "through the environment's proxy, as a cloud call may"
    assert found["publicly"][0] == here, "and falls back to what is here"


def test_import_and_start_up_ask_nobody() -> None:
    answer = run_scenario(f"{__name__}:start_up")
    seen = answer["outside"]
    assert (seen["connections"], seen["requests"], seen["lookups"]) == (0, [], [])
    assert answer["result"] == {"model": "builtin/extractive", "litellm": "ok", "exit": 0}
