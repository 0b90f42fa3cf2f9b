"""entity_extraction end to end: what is new in sessions reaches the graph, once, and only on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import RunningSidecar, running_sidecar


async def run(sidecar: RunningSidecar, **more: Any) -> dict[str, Any]:
    body = {"agent": "entity_extraction", "workspace": "open", "wait": True, **more}
    response = await sidecar.http.post("/api/v1/trigger", json=body)
    found: dict[str, Any] = response.json()
    assert found["state"] == "ok", found
    return found


async def say(sidecar: RunningSidecar, text: str) -> None:
    body = {"workspace": "open", "messages": [{"role": "user", "content": text}]}
    assert (await sidecar.http.post("/api/v1/sessions", json=body)).status_code == 201


async def names(sidecar: RunningSidecar) -> set[str]:
    response = await sidecar.http.get("/api/v1/entities?workspace=open")
    return {entity["name"] for entity in response.json()["entities"]}


async def test_what_is_new_is_read_once(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        config: dict[str, Any] = {
            "models": [{"id": "openai/cloud", "location": "cloud", "api_base": f"{provider.url}/v1"}],
            "rules": [{"name": "all", "conditions": {}, "model": "openai/cloud"}],
        }
        async with running_sidecar(tmp_path, **config) as sidecar:
            await say(sidecar, "Ada Lovelace saw a KeyError.")
            dry = await run(sidecar, dry_run=True)
            assert dry["withheld"][0].startswith("would store the entities")
            assert await names(sidecar) == set()
            assert (await run(sidecar))["data"] == {"texts": 1, "entities": 2, "more": False}
            assert (await run(sidecar))["data"]["texts"] == 0
        async with running_sidecar(tmp_path) as sidecar:
            await say(sidecar, "Grace Hopper came later.")
            assert (await run(sidecar))["data"]["texts"] == 1
            assert await names(sidecar) == {"Ada Lovelace", "KeyError", "Grace Hopper"}
        assert provider.chats == [], "no cloud model is asked, though the workspace allows it"


async def test_what_its_model_is_asked_stands_in_the_run(tmp_path: Path) -> None:
    answer = json.dumps({"entities": [{"name": "Ada Lovelace", "kind": "person", "summary": ""}], "relations": []})
    async with FakeProvider(models={"small": 8192}) as provider:
        provider.always(Reply((answer,)))
        config: dict[str, Any] = {
            "models": [{"id": "ollama/small", "api_base": provider.url, "context_window": 8192}],
            "rules": [{"name": "all", "conditions": {}, "model": "ollama/small"}],
        }
        async with running_sidecar(tmp_path, **config) as sidecar:
            await say(sidecar, "Ada Lovelace saw a KeyError.")
            found = await run(sidecar)
            assert (found["models"], found["requests"]) == (["ollama/small"], 1), found
            assert found["input_tokens"] > 0
            rows = (await sidecar.http.get("/api/v1/usage/records?agent=entity_extraction")).json()["records"]
            assert [row["request_id"].partition(".")[0] for row in rows] == [found["run_id"]]
