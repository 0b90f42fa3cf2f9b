from __future__ import annotations

from decimal import Decimal

import orjson

from app.context.blocks import BlockOutcome, ContextWindow, Outcome
from app.routing.catalog import Endpoint, ModelSpec, Price, Source, Sourced
from app.routing.facts import RoutingFacts, RuleVerdict
from app.routing.locality import Location
from app.routing.route import Candidate, Origin, Removed, Route
from app.usage.receipts import build_receipt, to_json

SECRET = "the prompt itself"


def model(id: str) -> ModelSpec:
    return ModelSpec(
        id=id,
        provider="ollama",
        wire="ollama_chat",
        name=id,
        endpoint=Endpoint("http://127.0.0.1:11434", Location.LOOPBACK, "127.0.0.1 is this machine"),
        context_window=Sourced(8192, Source.CONFIG),
        max_output_tokens=Sourced(None, Source.DEFAULT),
        price=Sourced(Price(Decimal(0), Decimal(0)), Source.DEFAULT),
        tokenizer="llama3",
        params={"system": SECRET},
    )


def route(reason: str = "rule default matched") -> Route:
    return Route(
        rule="default",
        candidates=(Candidate(model("ollama/llama3:8b"), Origin.RULE),),
        upgrades=(model("ollama/llama3:70b"),),
        summarizer=model("ollama/llama3:8b"),
        removed=(Removed("gpt-4o", Origin.FALLBACK, "policy", reason),),
        verdicts=(RuleVerdict("work", False, "workspace: work, not personal"), RuleVerdict("default", True)),
        reasons=(reason,),
        local_only=True,
        params={"system": SECRET},
    )


def window(blocks: int = 1) -> ContextWindow:
    return ContextWindow(
        model="ollama/llama3:8b",
        window=8192,
        input_tokens=120,
        reserved_output=1024,
        messages=({"role": "user", "content": SECRET},),
        blocks=tuple(BlockOutcome(f"chunk:{n}", "chunk", 3, 40, Outcome.DROPPED, "no room") for n in range(blocks)),
    )


def facts(**metadata: object) -> RoutingFacts:
    return RoutingFacts("chat", "personal", True, False, 120, hour=9, metadata=metadata)


def test_a_receipt_says_what_happened_and_no_text() -> None:
    receipt = to_json(build_receipt("r1", facts(team="red", depth=2, nested={"text": SECRET}), route(), window()))
    assert receipt["facts"] == {
        "task_type": "chat",
        "workspace": "personal",
        "contains_code": True,
        "block_cloud_apis": False,
        "input_tokens": 120,
        "has_images": False,
        "has_tools": False,
        "has_response_format": False,
        "session_private": False,
        "agent": None,
        "hour": 9,
        "budget_used": 0.0,
        "metadata": {"team": "red", "depth": 2},
    }
    assert receipt["route"]["candidates"] == [{"model": "ollama/llama3:8b", "origin": "rule", "location": "loopback"}]
    assert receipt["route"]["removed"][0]["code"] == "policy"
    assert [verdict["matched"] for verdict in receipt["route"]["verdicts"]] == [False, True]
    assert receipt["context"]["blocks"] == [
        {"id": "chunk:0", "kind": "chunk", "priority": 3, "tokens": 40, "outcome": "dropped", "reason": "no room"}
    ]
    assert SECRET not in orjson.dumps(receipt).decode()


def test_the_facts_can_be_replayed() -> None:
    original = facts(team="red")
    stored = orjson.loads(orjson.dumps(build_receipt("r1", original, route()).facts))
    assert RoutingFacts(**stored) == original


def test_a_receipt_stays_small_and_storable_whatever_was_sent() -> None:
    metadata: dict[str, object] = {f"key-{n}-{'x' * 10_000}": "y" * 10_000 for n in range(1000)}
    odd: dict[str, object] = {"huge": 10**40, "lone": "\ud800", "flag": True}
    receipt = to_json(build_receipt("r1", facts(**odd, **metadata), route("z" * 10_000), window(blocks=5000)))
    assert len(orjson.dumps(receipt)) < 40_000
    assert receipt["context"]["blocks_left_out"] == 5000 - 128
    assert receipt["facts"]["metadata"]["huge"] == str(10**40)
    assert receipt["facts"]["metadata"]["lone"] == "?"
    assert receipt["facts"]["metadata"]["flag"] is True


def test_no_candidate_was_fitted() -> None:
    assert to_json(build_receipt("r1", facts(), route()))["context"] == {}
