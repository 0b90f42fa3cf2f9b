"""What a provider says of a prompt's size over real HTTP: that it was too long, and how many tokens it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.laboratory import data_of
from tests.fakes.providers import ContextOverflow, ErrorInStream, Reply, Status, Step
from tests.fakes.sidecar import parse_events
from tests.fakes.strategy_lab import SCRIBE, SMALL, Lab, chunks, lab_with, lab_with_keys, prompt, talk, text


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab_with_keys(tmp_path) as made:
        yield made


# -- overflow ----------------------------------------------------------------------------------------------------

WIRES = [SMALL, "hosted_vllm/served", "openai/remote", "anthropic/middling", "gemini/gemini-2.0-flash"]
QUESTION = text(300, "The very question")
LONG: dict[str, Any] = {
    "query": QUESTION,
    "workspace": "open",
    "context": {"history": talk(5, 100), "chunks": chunks(16, 290)},
}


@pytest.mark.parametrize("how", [ContextOverflow(), ErrorInStream(after=0, what="overflow")])
@pytest.mark.parametrize("model", WIRES)
async def test_a_prompt_called_too_long_is_built_smaller(lab: Lab, model: str, how: Step) -> None:
    lab.provider.script(how)
    events = await lab.chat(**LONG, model=model)
    assert [e.name for e in events][:4] == ["route", "context", "attempt", "context"]
    assert events[-1].data["model"] == model
    (told,) = data_of(events, "attempt")
    assert (told["outcome"], told["code"], told["wait_seconds"]) == ("retrying", "context_overflow", 0)
    before, after = data_of(events, "context")
    assert after["input_tokens"] < before["input_tokens"]
    assert after["model"] == before["model"] == model
    first, second = lab.provider.chats
    assert len(prompt(second)) < len(prompt(first))
    for line in QUESTION.splitlines():  # what may never be trimmed is all there
        assert line in prompt(second)
    assert all(b["outcome"] == "kept" for b in after["blocks"] if b["priority"] == 1)


@pytest.mark.parametrize("model", WIRES)
async def test_twice_at_most_and_with_no_other_models_help(lab: Lab, model: str) -> None:
    lab.provider.always(ContextOverflow())
    long = {**LONG, "context": {**LONG["context"], "history": talk(30, 135)}}
    response = await lab.sidecar.http.post("/api/v1/chat", json={**long, "workspace": "open", "model": model})
    events = parse_events(response.text)
    asked = [r for r in lab.provider.chats if r.model != "scribe"]
    own = [r for r in asked if r.model == model.partition("/")[2]]
    assert len(own) == 3
    assert len(prompt(own[0])) > len(prompt(own[1])) > len(prompt(own[2]))
    rebuilt = [c["input_tokens"] for c in data_of(events, "context")[:3]]
    assert rebuilt == sorted(rebuilt, reverse=True)
    assert len(set(rebuilt)) == 3
    assert len(lab.asked(SCRIBE)) <= (1 if model == SMALL else 2)  # never for a rebuild: once per fitted candidate
    assert events[-1].name == "error"
    assert events[-1].data["code"] == "all_candidates_failed"


async def test_the_providers_own_limit_sizes_the_rebuild(lab: Lab) -> None:
    lab.provider.script(
        Status(400, message="the request (9000 tokens) exceeds the available context size (4096 tokens)")
    )
    events = await lab.chat(**LONG, model="hosted_vllm/served")
    before, after = (c["input_tokens"] for c in data_of(events, "context"))
    # It counts 9,000 where we count `before`, and takes 4,096 less the answer's 2,048: one rebuild is enough.
    assert after <= before * 2048 / 9000
    assert after > before * 2048 / 9000 * 0.5


async def test_what_cannot_shrink_is_not_sent_again(lab: Lab) -> None:
    lab.provider.always(ContextOverflow(), model="llama3:8b")
    events = await lab.chat(query="short", workspace="work")
    assert len(lab.provider.chats) == 1
    assert events[-1].data["code"] == "all_candidates_failed"


# -- calibration -------------------------------------------------------------------------------------------------


async def predicted(lab: Lab, **body: Any) -> int:
    response = await lab.sidecar.http.post("/api/v1/explain", json=body)
    found: int = response.json()["candidates"][0]["context"]["input_tokens"]
    return found


async def test_reported_tokens_move_the_prediction_within_bounds_and_over_a_restart(tmp_path: Path) -> None:
    body = {"query": text(1_000, "Question"), "workspace": "work"}
    async with lab_with(tmp_path) as lab:
        at_first = before = await predicted(lab, **body)
        truth = round(1.3 * at_first)
        for _ in range(12):
            lab.provider.script(Reply(("ok",), input_tokens=truth), model="llama3:8b")
            done = (await lab.chat(**body))[-1].data
            assert done["input_tokens"] == truth
            now = await predicted(lab, **body)
            assert before <= now <= before * 1.10 + 1
            before = now
        assert before == pytest.approx(truth, rel=0.05)
        for suspect in (3 * truth, truth // 4):
            lab.provider.script(Reply(("ok",), input_tokens=suspect), model="llama3:8b")
            await lab.chat(**body)
        lab.provider.script(Reply(("ok",), usage=False), model="llama3:8b")
        await lab.chat(**body)
        assert await predicted(lab, **body) == before
        assert await predicted(lab, **body, model=SCRIBE) == at_first  # another model, another factor
    async with lab_with(tmp_path) as lab:
        assert await predicted(lab, **body) == pytest.approx(before, abs=1)
