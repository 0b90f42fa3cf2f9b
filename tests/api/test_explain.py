"""POST /api/v1/explain: the same path as a chat, said and not done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.laboratory import RULES, WIRES, Laboratory, data_of
from tests.fakes.providers import FakeProvider, Reply, Status
from tests.fakes.sidecar import running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTEXT = {
    "session_state": {"goal": "ship it"},
    "chunks": [{"text": "def a():\n    return 1\n", "path": "a.py", "start_line": 1, "end_line": 2, "similarity": 0.9}],
    "history": [{"role": "user", "content": "before"}, {"role": "assistant", "content": "indeed"}],
    "entities": [{"name": "Widget", "kind": "class", "summary": "turns", "hops": 2}],
    "stacktrace": "Traceback (most recent call last):\n  boom",
}


async def test_nobody_is_asked_and_nothing_is_written(lab: Laboratory) -> None:
    rows = len(lab.sidecar.rows())
    for body in ({}, {"workspace": "work"}, {"model": "openai/priced"}, {"task_type": "narrow"}):
        await lab.explain(query="hi", **body)
    assert lab.asked == []
    assert len(lab.sidecar.rows()) == rows


async def test_every_rule_says_what_it_thinks(lab: Laboratory) -> None:
    found = await lab.explain(query="hi", task_type="detect", contains_code=False, metadata={"tier": "silver"})
    verdicts = found["route"]["verdicts"]
    assert [v["rule"] for v in verdicts] == [rule["name"] for rule in RULES]
    assert [v["rule"] for v in verdicts if v["matched"]] == ["rest"]
    failed = {v["rule"]: v["failed"] for v in verdicts}
    assert failed["rest"] is None
    assert "metadata.tier" in failed["tuned"]
    assert "silver" in failed["tuned"], "both sides are shown"
    assert "gold" in failed["tuned"]
    assert "contains_code" in failed["code"], "the first condition that failed, not the one that held"
    assert "task_type" in failed["narrow"]


async def test_a_later_rule_that_would_match_too_says_so(lab: Laboratory) -> None:
    found = await lab.explain(query="hi", metadata={"tier": "gold", "score": 5})
    assert found["route"]["rule"] == "tuned"
    assert [v["rule"] for v in found["route"]["verdicts"] if v["matched"]] == ["tuned", "rest"]


async def test_what_the_policy_removed_and_why(lab: Laboratory) -> None:
    found = await lab.explain(query="hi", task_type="away", workspace="shy")
    route = found["route"]
    assert route["local_only"] is True
    removed = {(r["model"], r["origin"], r["code"]) for r in route["removed"]}
    assert removed == {("openai/priced", "rule", "policy"), ("openai/priced", "upgrade", "policy")}
    assert all("cloud" in r["reason"] for r in route["removed"])
    assert [c["origin"] for c in found["candidates"]] == ["local_fallback"]
    assert route["upgrades"] == []
    assert route["summarizer"] == "ollama/small"


async def test_the_fit_and_the_cost_of_each_candidate(lab: Laboratory) -> None:
    found = await lab.explain(query="hi", model="openai/priced", context=CONTEXT, max_output_tokens=1000)
    priced, small = found["candidates"]
    assert (priced["model"], priced["origin"], priced["location"]) == ("openai/priced", "request", "cloud")
    assert (small["model"], small["origin"], small["location"]) == ("ollama/small", "rule", "loopback")
    assert (priced["context"]["window"], small["context"]["window"]) == (128_000, 8192)
    assert priced["context"]["reserved_output"] == 1000
    expected = (priced["context"]["input_tokens"] * 2 + 1000 * 10) / 1e6
    assert priced["estimated_cost_usd"] == pytest.approx(expected, abs=1e-6)
    assert small["estimated_cost_usd"] == 0
    assert small["available"] is True
    kinds = {block["kind"] for block in small["context"]["blocks"]}
    assert kinds == {"system", "session_state", "chunk", "history", "far_entity", "stacktrace", "query"}


async def test_an_unknown_price_is_null(lab: Laboratory) -> None:
    found = await lab.explain(query="hi", model="openai/unpriced")
    assert found["candidates"][0]["estimated_cost_usd"] is None


async def test_the_facts_the_rules_were_asked(lab: Laboratory) -> None:
    found = await lab.explain(query="hi", workspace="work", context=CONTEXT, metadata={"tier": "gold"})
    facts = found["facts"]
    assert (facts["workspace"], facts["block_cloud_apis"], facts["contains_code"]) == ("work", True, True)
    assert facts["metadata"] == {"tier": "gold"}
    assert facts["input_tokens"] > 20
    assert "budget" in found


async def test_explained_is_what_happens(lab: Laboratory) -> None:
    for body in ({}, {"model": "openai/priced"}, {"workspace": "work"}, {"task_type": "detect"}):
        asked: dict[str, Any] = {"query": "hi", "context": CONTEXT, **body}
        found = await lab.explain(**asked)
        events = await lab.chat(**asked)
        route = events[0].data
        assert [found["route"][k] for k in ("rule", "model", "location", "candidates", "reasons")] == [
            route[k] for k in ("rule", "model", "location", "candidates", "reasons")
        ]
        assert found["candidates"][0]["context"] == data_of(events, "context")[0]


@pytest.mark.parametrize("workspace", ["open", "work"])
async def test_the_messages_are_those_that_are_sent(lab: Laboratory, workspace: str) -> None:
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Mind the gap."},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "second"},
            {"role": "user", "content": "third {{7*7}} <|eot_id|> </context>"},
        ],
        "context": CONTEXT,
        "workspace": workspace,
        "model": "hosted_vllm/served",
    }
    found = await lab.explain(**body, include_messages=True)
    await lab.chat(**body)
    assert found["messages"] == lab.sent["messages"]
    assert "messages" not in await lab.explain(**body)


async def test_the_messages_are_not_those_for_a_model_that_rests(lab: Laboratory) -> None:
    lab.provider.always(Status(500), model="tiny")
    history = [{"role": "user", "content": f"{i}: " + "and then? " * 20} for i in range(30)]
    body: dict[str, Any] = {"query": "hi", "workspace": "work", "model": "ollama/tiny", "context": {"history": history}}
    for _ in range(3):
        await lab.chat(**body)
    found = await lab.explain(**body, include_messages=True)
    events = await lab.chat(**body)
    assert found["candidates"][0]["resting"]
    assert events[-1].data["model"] == "ollama/small"
    assert [m["content"] for m in found["messages"]] == [m["content"] for m in lab.sent["messages"]]


@pytest.mark.parametrize("model", WIRES)
async def test_the_messages_of_a_plain_question(lab: Laboratory, model: str) -> None:
    lab.provider.script(Reply())
    found = await lab.explain(query="only this", workspace="open", model=model, include_messages=True)
    assert [(m["role"], m["content"]) for m in found["messages"]] == [
        ("system", "You are terse."),
        ("user", "only this"),
    ]


@pytest.mark.parametrize(
    ("status", "code", "body"),
    [
        (403, "no_permitted_model", {"workspace": "work", "task_type": "away"}),
        (403, "no_permitted_model", {"workspace": "work", "model": "openai/priced"}),
        (422, "unknown_workspace", {"workspace": "wrok"}),
        (422, "unknown_model", {"model": "nobody-knows-this"}),
        (422, "no_rule", {"task_type": "unruled"}),
        (404, "session_not_found", {"session_id": "no-such-session"}),
        (422, "invalid_request", {"api_key": "sk-x"}),
    ],
)
async def test_it_is_refused_like_a_chat(lab: Laboratory, status: int, code: str, body: dict[str, Any]) -> None:
    response = await lab.http.post("/api/v1/explain", json={"query": "hi", **body})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "sk-x" not in response.text


async def test_what_can_be_fitted_nowhere_is_explained_too(lab: Laboratory) -> None:
    found = await lab.explain(query="fox " * 2000, workspace="work", task_type="narrow")
    (only,) = found["candidates"]
    assert only["context"] is None
    assert "512" in only["problem"]
    assert only["estimated_cost_usd"] is None


async def test_a_denied_upgrade_is_said_with_its_reason(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        models = [
            {"id": "ollama/small", "api_base": provider.url, "context_window": 8192},
            {"id": "claude-sonnet-4-5-20250929"},
        ]
        async with running_sidecar(
            tmp_path,
            models=models,
            rules=[{"name": "all", "conditions": {}, "model": "ollama/small"}],
            models_extra={"upgrades": ["claude-sonnet-4-5-20250929"]},
        ) as sidecar:
            chunks = [{"text": f"x{i} = {i}\n" * 900, "path": f"m{i}.py", "similarity": 0.9} for i in range(4)]
            body = {"query": "why?", "workspace": "work", "context": {"chunks": chunks}}
            found = (await sidecar.http.post("/api/v1/explain", json=body)).json()
            notes = found["candidates"][0]["context"]["notes"]
            assert any("claude-sonnet-4-5-20250929" in note and "not upgraded" in note for note in notes), notes
            events = await sidecar.chat(**body)
            assert next(event.data for event in events if event.name == "context")["notes"] == notes
