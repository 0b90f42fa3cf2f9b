"""Entities and other sessions in a chat's context, over real HTTP: hops, privacy, limits, lateness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from app.memory.entities import NewEntity, Origin, Source
from tests.fakes.laboratory import keyed
from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOCAL, CLOUD = "ollama/llama3:8b", "openai/far"


@dataclass
class Lab:
    sidecar: RunningSidecar
    local: FakeProvider
    cloud: FakeProvider

    async def post(self, path: str, status: int = 200, **body: Any) -> Any:
        response = await self.sidecar.http.post(f"/api/v1/{path}", json=body)
        assert response.status_code == status, response.text
        return response.json()

    async def ask(self, query: str, **body: Any) -> Any:
        return await self.post("chat", query=query, retrieve=True, stream=False, **body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    async with (
        keyed(),
        FakeProvider(models={"llama3:8b": 8192}) as local,
        FakeProvider() as cloud,
        running_sidecar(
            tmp_path_factory.mktemp("retrieval"),
            models=[
                {"id": LOCAL, "api_base": local.url, "context_window": 8192, "tokenizer": "llama3"},
                {
                    "id": CLOUD,
                    "api_base": cloud.url + "/v1",
                    "location": "cloud",
                    "context_window": 128_000,
                    "api_key_env": "LAB_KEY",
                },
            ],
            rules=[{"name": "all", "conditions": {}, "model": CLOUD, "fallback": LOCAL}],
            profiles=[{"id": name} for name in ("open", "other", "past", "mixed")]
            + [{"id": "work", "block_cloud_apis": True}],
        ) as sidecar,
    ):
        yield Lab(sidecar, local, cloud)


@pytest.fixture
def lab(opened: Lab) -> Lab:
    opened.local.forget()
    opened.cloud.forget()
    return opened


def blocks(answer: Any, *kinds: str) -> list[dict[str, Any]]:
    return [block for block in answer["context"]["blocks"] if block["kind"] in kinds]


def prompt(provider: FakeProvider) -> str:
    return "\n".join(str(message["content"]) for message in provider.chats[-1].body["messages"])


CHAIN: dict[str, Any] = {
    "entities": [
        {"name": "FluxCapacitor", "kind": "class", "summary": "Stores the flux.", "path": "a/flux.py", "line": 12},
        {"name": "FluxMeter", "kind": "class", "summary": "Reads it."},
        {"name": "Dashboard", "kind": "class", "summary": "Shows it."},
        {"name": "Printer", "kind": "class"},
    ],
    "relations": [
        {"from": "FluxMeter", "to": "FluxCapacitor", "kind": "reads_from"},
        {"from": "Dashboard", "to": "FluxMeter", "kind": "uses"},
        {"from": "Printer", "to": "Dashboard", "kind": "uses"},
    ],
}


async def test_entities_come_with_one_and_two_hops(lab: Lab) -> None:
    await lab.post("entities", workspace="open", **CHAIN)
    answer = await lab.ask("How does FluxCapacitor work?", workspace="open")
    near, far = blocks(answer, "entity"), blocks(answer, "far_entity")
    assert [b["id"] for b in near] == ["entity:FluxCapacitor", "entity:FluxMeter"]
    assert {b["priority"] for b in near} == {2}
    assert [(b["id"], b["priority"]) for b in far] == [("entity:Dashboard", 3)]
    said = prompt(lab.cloud)
    assert "FluxCapacitor (class): Stores the flux.; a/flux.py:12" in said
    assert "FluxMeter (class): Reads it.; reads from FluxCapacitor" in said
    assert "Printer" not in said
    assert not [warning for warning in answer["warnings"] if "retrieval" in warning]
    nothing = await lab.ask("How does FluxCapacitor work?", workspace="other")
    assert blocks(nothing, "entity", "far_entity", "chunk") == []


async def test_a_private_entity_keeps_the_request_and_its_session_on_this_machine(lab: Lab) -> None:
    await lab.post("entities", workspace="mixed", entities=[{"name": "open thing"}])
    graph = lab.sidecar.services.entities
    await graph.upsert("mixed", Origin(Source.TEXT, "s"), [NewEntity("zebra plan", summary="hidden")], private=True)
    answer = await lab.ask("What is the open thing?", workspace="mixed")
    assert answer["model"] == CLOUD
    session = (await lab.post("sessions", 201, workspace="mixed"))["id"]
    answer = await lab.ask("What is the zebra plan?", session_id=session)
    assert (answer["model"], len(lab.local.chats)) == (LOCAL, 1)
    assert "hidden" in prompt(lab.local)
    # What was answered from it is in the session now.
    lab.cloud.forget()
    answer = await lab.post("chat", query="And what did you just say?", session_id=session, stream=False)
    assert answer["model"] == LOCAL
    assert lab.cloud.chats == []
    assert (await lab.sidecar.http.get(f"/api/v1/sessions/{session}")).json()["private"] is True


async def test_what_another_session_said_comes_along(lab: Lab) -> None:
    said = [
        {"role": "user", "content": "Where do we keep the tachyon calibration?"},
        {"role": "assistant", "content": "In ops/tachyon.md, section three."},
    ]
    first = (await lab.post("sessions", 201, workspace="past", messages=said))["id"]
    second = (await lab.post("sessions", 201, workspace="past"))["id"]
    answer = await lab.ask("Remind me: tachyon calibration", session_id=second)
    (chunk,) = blocks(answer, "chunk")
    assert chunk["id"].startswith(f"chunk:session:{first}#")
    assert f"From an earlier conversation (session:{first}):" in prompt(lab.cloud)
    assert "ops/tachyon.md" in prompt(lab.cloud)
    own = await lab.ask("Remind me: tachyon calibration", session_id=first)
    assert first not in str(blocks(own, "chunk"))
    assert blocks(await lab.ask("tachyon calibration", workspace="other"), "chunk") == []
    # A private session of an open workspace: nothing of it goes to the cloud.
    await lab.sidecar.services.sessions.keep_private(await lab.sidecar.services.sessions.load(first))
    answer = await lab.ask("Remind me: tachyon calibration", workspace="past")
    assert answer["model"] == LOCAL
