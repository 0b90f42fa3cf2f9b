"""An upgrade is a favour: where it fails, the model it stood in for gets its turn, with what fits there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import BadKey, Reply, Status
from tests.fakes.sidecar import SseEvent
from tests.fakes.strategy_lab import CLOUD, DOES_NOT_FIT, SMALL, Lab, context_of, lab_with


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-key-0123456789abcdef")
    async with lab_with(tmp_path, upgrades=["ollama/absent", CLOUD]) as made:
        yield made


def attempts(events: list[SseEvent]) -> list[tuple[Any, ...]]:
    return [(e.data["model"], e.data["outcome"], e.data["code"]) for e in events if e.name == "attempt"]


async def test_the_model_it_stood_in_for_answers(lab: Lab) -> None:
    lab.provider.always(BadKey(), model="big")
    lab.provider.always(Status(404), model="absent")
    events = await lab.chat(**DOES_NOT_FIT, workspace="open")
    assert (events[-1].name, events[-1].data["model"]) == ("done", SMALL)
    told = {model: (outcome, code) for model, outcome, code in attempts(events)}
    assert told == {
        CLOUD: ("falling_back", "bad_credentials"),
        "ollama/absent": ("falling_back", "model_not_found"),
    }
    context = context_of(events)
    assert (context["model"], context["upgraded_from"]) == (SMALL, None)
    assert context["input_tokens"] + context["reserved_output"] <= 8_192


async def test_an_upgrade_its_server_does_not_list_is_asked_after_the_others(lab: Lab) -> None:
    lab.provider.always(Status(404), model="big")
    events = await lab.chat(**DOES_NOT_FIT, workspace="open")
    assert attempts(events) == [(CLOUD, "falling_back", "model_not_found")]
    assert (events[-1].name, events[-1].data["model"]) == ("done", "ollama/absent")


async def test_a_private_request_never_goes_to_the_cloud_for_it(lab: Lab) -> None:
    lab.provider.always(Status(404), model="absent")
    events = await lab.chat(**DOES_NOT_FIT, workspace="work")
    assert (events[-1].name, events[-1].data["model"]) == ("done", SMALL)
    assert "big" not in {request.model for request in lab.provider.chats}


async def test_an_upgrade_that_rests_is_not_waited_for(lab: Lab) -> None:
    lab.provider.always(Status(404), model="absent")
    lab.provider.always(Status(503), model="big")
    for _ in range(12):
        if lab.sidecar.services.router.breakers.resting(CLOUD) is not None:
            break
        assert (await lab.chat(**DOES_NOT_FIT, workspace="open"))[-1].data["model"] == SMALL
    assert lab.sidecar.services.router.breakers.resting(CLOUD) is not None
    lab.provider.requests.clear()
    events = await lab.chat(**DOES_NOT_FIT, workspace="open")
    assert events[-1].data["model"] == SMALL
    assert "big" not in {request.model for request in lab.provider.chats}


async def test_an_upgrade_that_rests_is_asked_where_nothing_else_holds_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-key-0123456789abcdef")
    async with lab_with(tmp_path) as lab:
        lab.provider.always(Status(503), model="big")
        for _ in range(12):
            if lab.sidecar.services.router.breakers.resting(CLOUD) is not None:
                break
            await lab.chat(**DOES_NOT_FIT, workspace="open")
        assert lab.sidecar.services.router.breakers.resting(CLOUD) is not None
        lab.provider.always(Reply(), model="big")
        body = {"query": "word " * 60_000, "workspace": "open"}
        response = await lab.sidecar.http.post("/api/v1/explain", json=body)
        assert response.json()["candidates"][0]["context"]["model"] == CLOUD, response.text
        assert (await lab.chat(**body))[-1].data["model"] == CLOUD
