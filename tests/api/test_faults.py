"""Every fault by every wire, through the whole sidecar: what is tried, what is waited for, what the caller sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import (
    BadKey,
    ContextOverflow,
    CutMidStream,
    EmptyStream,
    ErrorInStream,
    FakeProvider,
    Hang,
    KeyInError,
    MalformedChunk,
    Reply,
    Status,
)
from tests.fakes.sidecar import RunningSidecar, SseEvent, running_sidecar

KEY = "sk-secret-key-that-must-not-be-shown-0123456789"
WIRES = {
    "ollama": {"id": "ollama/first", "path": ""},
    "openai": {"id": "openai/first", "path": "/v1"},
    "vllm": {"id": "hosted_vllm/first", "path": "/v1"},
    "anthropic": {"id": "anthropic/first", "path": ""},
    "gemini": {"id": "gemini/first", "path": ""},
}
SECOND = "ollama/second"


@dataclass
class Lab:
    sidecar: RunningSidecar
    first: FakeProvider
    second: FakeProvider

    async def ask(self) -> list[SseEvent]:
        return await self.sidecar.chat(query="hello", task_type="chat")


@pytest.fixture(params=WIRES)
async def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    wire = WIRES[request.param]
    monkeypatch.setenv("FIRST_KEY", KEY)
    async with FakeProvider() as first, FakeProvider() as second:
        first_model = {"id": wire["id"], "api_base": first.url + wire["path"], "api_key_env": "FIRST_KEY"}
        models = [
            {**first_model, "context_window": 8192},
            {"id": SECOND, "api_base": second.url, "context_window": 8192},
        ]
        async with running_sidecar(
            tmp_path,
            models=models,
            rules=[{"name": "only", "conditions": {}, "model": wire["id"], "fallback": SECOND}],
            routing_extra={"timeouts": {"first_token_seconds": 0.3, "idle_seconds": 0.3, "total_seconds": 20}},
        ) as sidecar:
            yield Lab(sidecar, first, second)


def names(events: list[SseEvent]) -> list[str]:
    """Event names with runs of tokens folded into one."""
    folded: list[str] = []
    for event in events:
        if not folded or folded[-1] != event.name:
            folded.append(event.name)
    return folded


def outcomes(events: list[SseEvent]) -> list[str]:
    return [event.data["outcome"] for event in events if event.name == "attempt"]


def text(events: list[SseEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "token")


TRANSIENT: list[Any] = [
    Status(429),
    Status(500),
    Status(502),
    Status(503),
    Status(529),
    Status(408),
    Hang("before_headers"),
    Hang("after_headers"),
    EmptyStream(),
    CutMidStream(after=0, how="reset"),
    CutMidStream(after=0, how="clean"),
    MalformedChunk(after=0),
    ErrorInStream(after=0, what="server"),
    ErrorInStream(after=0, what="overloaded"),
]
NEXT: list[Any] = [Status(401), Status(403), Status(404), BadKey(), KeyInError(401)]
AFTER_COMMIT: list[Any] = [
    CutMidStream(after=2, how="reset"),
    CutMidStream(after=2, how="clean"),
    MalformedChunk(after=2),
    ErrorInStream(after=2, what="server"),
]


@pytest.mark.parametrize("fault", TRANSIENT, ids=repr)
async def test_transient_faults_are_tried_again(lab: Lab, fault: Any) -> None:
    lab.first.script(fault)
    events = await lab.ask()
    assert names(events) == ["route", "context", "attempt", "token", "done"]
    assert outcomes(events) == ["retrying"]
    assert lab.sidecar.slept == [1]
    assert text(events) == "Hello from the fake provider."
    assert events[-1].data["attempt_count"] == 2
    assert [row["status"] for row in lab.sidecar.rows()] == ["error", "ok"]


async def test_a_lasting_transient_fault_falls_back_after_three_tries(lab: Lab) -> None:
    lab.first.always(Status(503))
    events = await lab.ask()
    assert outcomes(events) == ["retrying", "retrying", "falling_back"]
    assert [event.data["wait_seconds"] for event in events if event.name == "attempt"] == [1, 5, 0]
    assert lab.sidecar.slept == [1, 5]
    assert events[-1].data["model"] == SECOND
    assert len(lab.first.chats) == 3


async def test_the_last_candidate_gets_one_more_try_after_the_longest_wait(lab: Lab) -> None:
    lab.first.always(Status(401))
    lab.second.always(Status(503))
    events = await lab.ask()
    assert events[-1].name == "error"
    assert events[-1].data["code"] == "all_candidates_failed"
    assert events[-1].data["delivered_characters"] == 0
    assert lab.sidecar.slept == [1, 5, 15]
    assert (len(lab.first.chats), len(lab.second.chats)) == (1, 4)


@pytest.mark.parametrize("fault", NEXT, ids=repr)
async def test_what_another_try_cannot_change_goes_to_the_next_candidate_at_once(lab: Lab, fault: Any) -> None:
    lab.first.script(fault)
    events = await lab.ask()
    assert names(events) == ["route", "context", "attempt", "context", "token", "done"]
    assert outcomes(events) == ["falling_back"]
    assert lab.sidecar.slept == []
    assert events[-1].data["model"] == SECOND
    assert KEY not in repr([event.data for event in events])
    assert KEY not in repr(lab.sidecar.rows())


async def test_a_prompt_too_long_for_the_provider_goes_to_the_next_candidate(lab: Lab) -> None:
    lab.first.always(ContextOverflow())
    events = await lab.ask()
    assert events[-1].name == "done"
    assert events[-1].data["model"] == SECOND
    assert len(lab.first.chats) == 1, "one short question cannot be made shorter"


async def test_an_invalid_request_ends_it(lab: Lab) -> None:
    lab.first.script(Status(400, message="messages: field is malformed"))
    events = await lab.ask()
    assert names(events) == ["route", "context", "error"]
    assert lab.second.chats == []


async def test_a_refused_connection_goes_to_the_next_candidate(lab: Lab) -> None:
    await lab.first.__aexit__(None, None, None)
    events = await lab.ask()
    assert outcomes(events) == ["falling_back"]
    assert events[-1].data["model"] == SECOND
    await lab.first.__aenter__()


@pytest.mark.parametrize("fault", AFTER_COMMIT, ids=repr)
async def test_after_the_first_token_nothing_is_retried(lab: Lab, fault: Any) -> None:
    lab.first.script(fault)
    events = await lab.ask()
    assert names(events) == ["route", "context", "token", "error"]
    assert text(events) == "Hello from"
    assert events[-1].data["code"] == "stream_interrupted"
    assert events[-1].data["delivered_characters"] == len("Hello from")
    (row,) = lab.sidecar.rows()
    assert row["status"] == "error"
    assert row["output_tokens"] > 0
    assert len(lab.first.chats) == 1
    assert lab.second.chats == []


async def test_silence_in_mid_stream_ends_it(lab: Lab) -> None:
    lab.first.script(Hang("mid_stream", after=2))
    events = await lab.ask()
    assert names(events) == ["route", "context", "token", "error"]
    assert events[-1].data["code"] == "timeout"
    assert (await lab.first.client_left()).deltas_sent == 2


async def test_retry_after_is_honoured(lab: Lab) -> None:
    lab.first.script(Status(429, headers={"retry-after": "7"}))
    await lab.ask()
    assert lab.sidecar.slept == [7]


async def test_a_retry_after_beyond_the_limit_moves_on(lab: Lab) -> None:
    lab.first.script(Status(429, headers={"retry-after": "3600"}))
    events = await lab.ask()
    assert lab.sidecar.slept == []
    assert events[-1].data["model"] == SECOND


async def test_a_model_that_failed_three_requests_rests(lab: Lab) -> None:
    lab.first.always(Status(500))
    for _ in range(3):
        await lab.ask()
    asked = len(lab.first.chats)
    assert asked == 9, "one request's retries run in full"
    events = await lab.ask()
    assert len(lab.first.chats) == asked
    assert any("resting" in reason for reason in events[0].data["reasons"])
    assert events[-1].data["attempt_count"] == 1


async def test_a_good_answer_is_whole_and_metered(lab: Lab) -> None:
    lab.first.script(
        Reply(text=("Grüße", " [DONE]", " 你好", "\n\nevent: done\n\n"), input_tokens=111, output_tokens=3)
    )
    events = await lab.ask()
    assert names(events) == ["route", "context", "token", "done"]
    assert text(events) == "Grüße [DONE] 你好\n\nevent: done\n\n"
    done = events[-1].data
    assert (done["input_tokens"], done["output_tokens"], done["ledger"]) == (111, 3, "stored")
    assert [event.id for event in events] == sorted({event.id for event in events if event.id is not None})
    (row,) = lab.sidecar.rows()
    assert (row["input_tokens"], row["output_tokens"], row["status"]) == (111, 3, "ok")
