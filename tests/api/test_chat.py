"""The contract of POST /api/v1/chat over real HTTP: events, the one JSON object, statuses, wishes, costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.api.sse import Patience
from tests.fakes.laboratory import KEY, MAX_STREAMS, Laboratory, data_of, eventually, laboratory, text_of
from tests.fakes.providers import CutMidStream, Hang, Reply, Status
from tests.fakes.sidecar import SseEvent

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = "Hello from the fake provider."
DONE_FIELDS = {
    "model",
    "location",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "cost_source",
    "latency_ms",
    "time_to_first_token_ms",
    "attempt_count",
    "warnings",
    "ledger",
}
PROBLEM_FIELDS = {"type", "title", "status", "detail", "code", "request_id"}
BIG = "the quick brown fox jumps over the lazy dog " * 400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    async with laboratory(tmp_path_factory.mktemp("lab"), patience=Patience(silence=0.1)) as lab:
        yield lab


def names(events: list[SseEvent]) -> list[str]:
    return [event.name for event in events]


# -- the stream --------------------------------------------------------------------------------------------------


async def test_a_stream_event_by_event(lab: Laboratory) -> None:
    response = await lab.post(query="hello", workspace="open")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    events = await lab.chat(query="hello", workspace="open")
    assert names(events) == ["route", "context", *["token"] * 6, "done"]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    route, context, done = events[0].data, events[1].data, events[-1].data
    assert set(route) == {"request_id", "rule", "model", "location", "candidates", "reasons"}
    assert (route["rule"], route["model"], route["location"]) == ("rest", "ollama/small", "loopback")
    assert route["candidates"] == ["ollama/small"]
    assert set(context) == {"model", "window", "input_tokens", "reserved_output", "upgraded_from", "blocks"}
    assert (context["model"], context["window"], context["upgraded_from"]) == ("ollama/small", 8192, None)
    assert all(set(b) == {"id", "kind", "priority", "tokens", "outcome", "reason"} for b in context["blocks"])
    assert {(b["kind"], b["priority"], b["outcome"]) for b in context["blocks"]} == {
        ("system", 1, "kept"),
        ("query", 1, "kept"),
    }
    assert text_of(events) == ANSWER
    assert set(done) == DONE_FIELDS
    assert (done["model"], done["finish_reason"], done["attempt_count"]) == ("ollama/small", "stop", 1)
    assert (done["cost_usd"], done["warnings"], done["ledger"]) == (0, [], "stored")
    assert done["latency_ms"] >= done["time_to_first_token_ms"] >= 0


async def test_each_fitted_candidate_has_its_context(lab: Laboratory) -> None:
    lab.provider.script(Status(404), model="listed")
    events = await lab.chat(query="hello", model="ollama/listed")
    assert names(events)[:4] == ["route", "context", "attempt", "context"]
    assert [c["model"] for c in data_of(events, "context")] == ["ollama/listed", "ollama/small"]
    (failed,) = data_of(events, "attempt")
    assert {"model", "number", "outcome", "reason", "wait_seconds"} <= set(failed)
    assert (failed["model"], failed["number"], failed["outcome"]) == ("ollama/listed", 1, "falling_back")
    assert events[-1].data["attempt_count"] == 2


async def test_one_json_object(lab: Laboratory) -> None:
    lab.provider.script(Status(404), model="listed")
    answer = await lab.whole(query="hello", model="ollama/listed")
    assert set(answer) >= DONE_FIELDS | {"request_id", "text", "route", "context", "attempts"}
    assert answer["text"] == ANSWER
    assert answer["route"]["request_id"] == answer["request_id"]
    assert answer["context"]["model"] == answer["model"] == "ollama/small"
    assert [(a["model"], a["number"], a["outcome"], a["code"]) for a in answer["attempts"]] == [
        ("ollama/listed", 1, "error", "model_not_found"),
        ("ollama/small", 2, "ok", None),
    ]
    assert answer["attempt_count"] == 2


async def test_a_comment_breaks_the_silence(lab: Laboratory) -> None:
    lab.provider.script(Reply(text=("late",), delay=0.35))
    response = await lab.post(query="hello")
    before_token = response.text.partition("event: token")[0]
    assert before_token.count("\n: ") >= 2
    assert response.text.count("event: done") == 1


async def test_messages_history_and_context_reach_the_model_in_order(lab: Laboratory) -> None:
    await lab.chat(
        messages=[
            {"role": "system", "content": "Mind the gap."},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "second"},
            {"role": "user", "content": "third"},
        ],
        context={
            "session_state": {"goal": "ship it"},
            "chunks": [
                {"text": "def a(): ...", "path": "a.py", "start_line": 1, "end_line": 1, "similarity": 0.4},
                {"text": "def b(): ...", "path": "b.py", "start_line": 1, "end_line": 1, "similarity": 0.9},
            ],
            "history": [{"role": "user", "content": "zeroth"}, {"role": "assistant", "content": "indeed"}],
            "entities": [{"name": "Widget", "kind": "class", "summary": "turns", "hops": 1}],
            "file": {"path": "c.py", "text": "x = 1\n", "line": 1},
            "stacktrace": "Traceback: boom",
        },
    )
    messages = lab.sent["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    system, query = messages[0]["content"], messages[-1]["content"]
    for part in ("You are terse.", "Mind the gap.", "ship it", "Widget"):
        assert part in system
    assert [m["content"] for m in messages[1:-1]] == ["zeroth", "indeed", "first", "second"]
    places = [query.index(part) for part in ("def a", "def b", "x = 1", "boom", "third")]
    assert places == sorted(places)


# -- statuses ----------------------------------------------------------------------------------------------------

REFUSED: list[tuple[int, str, dict[str, Any]]] = [
    (403, "no_permitted_model", {"workspace": "work", "task_type": "away"}),
    (403, "no_permitted_model", {"workspace": "work", "model": "openai/priced"}),
    (422, "unknown_workspace", {"workspace": "wrok"}),
    (422, "unknown_model", {"model": "nobody-knows-this"}),
    (422, "no_rule", {"task_type": "unruled"}),
    (413, "context_too_large", {"workspace": "work", "task_type": "narrow", "query": BIG}),
    (404, "session_not_found", {"session_id": "no-such-session"}),
    (422, "invalid_request", {"max_output_tokens": 0}),
    (422, "invalid_request", {"stream": "yes"}),
    (422, "invalid_request", {"api_base": "http://127.0.0.1:1"}),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("status", "code", "body"), REFUSED, ids=lambda v: str(v)[:40])
async def test_what_is_refused_before_the_stream(
    lab: Laboratory, status: int, code: str, body: dict[str, Any], stream: bool
) -> None:
    response = await lab.post(**{"query": "hi", "stream": stream, **body})
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) >= PROBLEM_FIELDS
    assert problem["status"] == status
    assert problem["request_id"]
    assert lab.asked == []
    assert lab.rows(problem["request_id"]) == []


async def test_without_the_token(lab: Laboratory) -> None:
    async with httpx.AsyncClient(base_url=lab.sidecar.url, trust_env=False) as stranger:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
            response = await stranger.post("/api/v1/chat", json={"query": "hi"}, headers=headers)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert lab.asked == []


async def test_too_many_streams(lab: Laboratory) -> None:
    lab.provider.always(Hang("after_headers"))
    asking = [asyncio.create_task(lab.post(query="hi")) for _ in range(MAX_STREAMS)]
    await eventually(lambda: len(lab.asked) == MAX_STREAMS)
    for stream in (True, False):
        response = await lab.post(query="one more", stream=stream)
        assert (response.status_code, response.json()["code"]) == (429, "too_many_streams")
        assert int(response.headers["retry-after"]) >= 1
    assert len(lab.asked) == MAX_STREAMS
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await eventually(lambda: len(lab.provider.closed) == MAX_STREAMS)
    lab.reset()
    assert (await lab.post(query="again")).status_code == 200


FAILING: list[tuple[int, str, str, Any]] = [
    (502, "all_candidates_failed", "broken", Status(401)),
    (502, "stream_interrupted", "torn", CutMidStream(after=2)),
    (504, "timeout", "hasty", Hang("after_headers")),
]


@pytest.mark.parametrize(("status", "code", "task_type", "fault"), FAILING, ids=lambda v: str(v)[:30])
async def test_what_fails_once_models_were_asked(
    lab: Laboratory, status: int, code: str, task_type: str, fault: Any
) -> None:
    lab.provider.always(fault)
    events = await lab.chat(query="hi", task_type=task_type)
    assert names(events)[0] == "route"
    last = events[-1]
    assert (last.name, last.data["code"], last.data["status"]) == ("error", code, status)
    assert set(last.data) >= PROBLEM_FIELDS | {"delivered_characters"}
    assert last.data["request_id"] == events[0].data["request_id"]
    assert last.data["delivered_characters"] == len(text_of(events))
    response = await lab.post(query="hi", task_type=task_type, stream=False)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["delivered_characters"] == last.data["delivered_characters"]
    assert {row["status"] for row in lab.rows(response.json()["request_id"])} == {"error"}


# -- wishes ------------------------------------------------------------------------------------------------------


async def test_a_wish_goes_in_front(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="openai/priced")
    assert events[0].data["candidates"] == ["openai/priced", "ollama/small"]
    assert events[-1].data["model"] == "openai/priced"


async def test_a_wish_for_what_comes_anyway_changes_nothing(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="ollama/small")
    assert events[0].data["candidates"] == ["ollama/small"]


async def test_a_wish_that_no_file_lists_is_asked_by_its_provider(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="builtin/extractive")
    assert events[-1].data["location"] == "in_process"
    assert lab.asked == []


async def test_a_wish_that_lacks_what_is_needed_is_left_out(lab: Laboratory) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    events = await lab.chat(query="hi", model="ollama/blind", tools=tools)
    assert events[0].data["candidates"] == ["ollama/small"]
    assert any("ollama/blind" in reason and "tools" in reason for reason in events[0].data["reasons"])


async def test_plain_text_is_a_format_every_model_has(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="ollama/blind", response_format={"type": "text"})
    assert events[0].data["candidates"] == ["ollama/blind", "ollama/small"]
    assert events[-1].data["model"] == "ollama/blind"


# -- what it cost ------------------------------------------------------------------------------------------------


async def test_a_known_price(lab: Laboratory) -> None:
    lab.provider.script(Reply(input_tokens=1000, output_tokens=100, cached_input_tokens=400))
    events = await lab.chat(query="hi", model="openai/priced")
    done = events[-1].data
    assert (done["input_tokens"], done["output_tokens"], done["cost_source"]) == (1000, 100, "computed")
    assert done["cost_usd"] == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
    (row,) = lab.rows(events[0].data["request_id"])
    assert (row["cached_input_tokens"], row["cost_micro_usd"], row["cost_usd"]) == (400, 2400, 0.0024)


async def test_a_price_with_counts_of_our_own(lab: Laboratory) -> None:
    lab.provider.script(Reply(usage=False))
    done = (await lab.chat(query="hi", model="openai/priced"))[-1].data
    assert done["cost_source"] == "estimated"
    assert done["input_tokens"] > 0
    assert done["output_tokens"] > 0
    assert done["cost_usd"] > 0


async def test_an_unknown_price_is_null_and_said(lab: Laboratory) -> None:
    done = (await lab.chat(query="hi", model="openai/unpriced"))[-1].data
    assert (done["cost_usd"], done["cost_source"]) == (None, "unknown")
    assert any("price" in warning for warning in done["warnings"])


async def test_a_prompt_the_server_cut_is_said(lab: Laboratory) -> None:
    lab.provider.script(Reply(input_tokens=900))
    done = (await lab.chat(query="hi " * 2500))[-1].data
    assert any("cut" in warning for warning in done["warnings"])
    lab.provider.script(Reply(input_tokens=2500))
    assert (await lab.chat(query="hi " * 2500))[-1].data["warnings"] == []


async def test_an_answer_at_its_limit_is_said(lab: Laboratory) -> None:
    lab.provider.script(Reply(finish="length"))
    done = (await lab.chat(query="hi"))[-1].data
    assert done["finish_reason"] == "length"
    assert done["warnings"]


# -- windows -----------------------------------------------------------------------------------------------------


async def test_an_unknown_window_counts_as_8192_with_a_warning(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="ollama/mystery")
    assert data_of(events, "context")[0]["window"] == 8192
    assert lab.sent["options"]["num_ctx"] == 8192
    assert any("8,192" in warning for warning in events[-1].data["warnings"])


async def test_a_window_too_small_is_upgraded_where_that_is_permitted(lab: Laboratory) -> None:
    events = await lab.chat(query=BIG, task_type="narrow")
    (context,) = data_of(events, "context")
    assert (context["model"], context["upgraded_from"]) == ("openai/priced", "ollama/tiny")
    assert events[-1].data["model"] == "openai/priced"


# -- nothing that is secret --------------------------------------------------------------------------------------


async def test_no_key_in_anything_that_was_answered(lab: Laboratory) -> None:
    responses = [await lab.post(query="hi", model=model) for model in ("openai/priced", "anthropic/careful")]
    responses += [await lab.http.get(f"/api/v1/{page}") for page in ("models", "health", "rules", "usage/records")]
    assert KEY not in json.dumps([r.text for r in responses])
    assert KEY in lab.asked[0].headers["authorization"], "the control: the model's server did see it"
