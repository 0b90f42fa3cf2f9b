"""The contract as somebody outside would hold it against the running sidecar: raw requests, exact names and types."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUDGET = {"period": "week", "limit_usd": 15.0, "alert_at": [0.5, 0.8, 1.0], "on_limit": "local_only"}
COLUMNS = [
    "id",
    "request_id",
    "attempt",
    "workspace_profile_id",
    "session_id",
    "agent",
    "task_type",
    "rule",
    "provider",
    "model",
    "location",
    "status",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_micro_usd",
    "cost_usd",
    "cost_source",
    "latency_ms",
    "time_to_first_token_ms",
    "success",
    "error_code",
    "error_message",
    "created_at",
    "settled_at",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    async with (
        FakeProvider() as provider,
        running_sidecar(
            tmp_path_factory.mktemp("contract"),
            models=[
                {"id": "ollama/llama3:8b", "api_base": provider.url, "context_window": 8192, "tokenizer": "llama3"},
                {"id": "ollama/away", "api_base": "http://127.0.0.1:9"},
                {"id": "openai/gpt-4o", "api_base": provider.url + "/v1", "location": "cloud"},
            ],
            rules=[
                {"name": "gone", "conditions": {"task_type": "gone"}, "model": "ollama/away"},
                {"name": "rest", "conditions": {"task_type": {"ne": "unruled"}}, "model": "ollama/llama3:8b"},
            ],
            profiles=[
                {"id": "open", "name": "Open", "block_cloud_apis": False, "budgets": [BUDGET]},
                {"id": "work", "name": "Work", "block_cloud_apis": True},
            ],
        ) as running,
    ):
        await running.chat(query="hello")
        yield running


async def raw(sidecar: RunningSidecar, target: str) -> httpx.Response:
    """A request line as it is typed into curl: nothing is encoded on the way."""
    return await sidecar.http.get(httpx.URL(sidecar.url, raw_path=target.encode()))


# -- the stream, byte by byte ------------------------------------------------------------------------------------


async def test_the_stream_is_plain_sse(sidecar: RunningSidecar) -> None:
    response = await sidecar.http.post("/api/v1/chat", json={"query": "hello"})
    assert response.headers["content-type"].split(";")[0] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    frames = response.text.split("\n\n")
    assert frames[0].startswith("retry: ")
    assert frames[-1] == ""
    for number, frame in enumerate(frames[1:-1], start=1):
        assert re.fullmatch(rf"id: {number}\nevent: [a-z_]+\ndata: \{{.*\}}", frame), frame
    assert [frame.split("\n")[1] for frame in frames[-2:-1]] == ["event: done"]


async def test_stream_defaults_to_true_and_false_is_one_object(sidecar: RunningSidecar) -> None:
    whole = await sidecar.http.post("/api/v1/chat", json={"query": "hello", "stream": False})
    assert whole.headers["content-type"] == "application/json"
    body = whole.json()
    assert isinstance(body["text"], str)
    assert isinstance(body["route"], dict)
    assert isinstance(body["attempts"], list)
    assert body["cost_usd"] == 0.0  # a local model: a known zero, not null
    assert body["ledger"] == "stored"


# -- problems ----------------------------------------------------------------------------------------------------

CHAT_PROBLEMS: list[tuple[int, str, dict[str, Any]]] = [
    (422, "invalid_request", {}),
    (422, "invalid_request", {"query": "x", "unheard_of": 1}),
    (422, "unknown_workspace", {"query": "x", "workspace": "nobody"}),
    (422, "unknown_model", {"query": "x", "model": "nothing"}),
    (422, "no_rule", {"query": "x", "task_type": "unruled"}),
    (403, "no_permitted_model", {"query": "x", "workspace": "work", "model": "openai/gpt-4o"}),
    (404, "session_not_found", {"query": "x", "session_id": "never-made"}),
    (413, "context_too_large", {"query": "word " * 20_000}),
    (502, "all_candidates_failed", {"query": "x", "task_type": "gone", "stream": False}),
]


@pytest.mark.parametrize(("status", "code", "body"), CHAT_PROBLEMS)
async def test_a_problem_has_the_contracts_members(
    sidecar: RunningSidecar, status: int, code: str, body: dict[str, Any]
) -> None:
    is_problem(await sidecar.http.post("/api/v1/chat", json=body), status, code)


async def test_a_problem_of_the_door(sidecar: RunningSidecar) -> None:
    async with httpx.AsyncClient(base_url=sidecar.url, trust_env=False) as stranger:
        is_problem(await stranger.get("/api/v1/usage"), 401, "unauthorized")


def is_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    for name in ("type", "title", "detail", "request_id"):
        assert isinstance(problem[name], str), name
        assert problem[name], name
    assert response.headers["x-request-id"] == problem["request_id"]


# -- usage -------------------------------------------------------------------------------------------------------


async def test_usage_has_the_contracts_members(sidecar: RunningSidecar) -> None:
    usage = (await raw(sidecar, "/api/v1/usage?group_by=model,day")).json()
    assert {"from", "to", "totals", "groups", "budgets"} <= usage.keys()
    group = next(g for g in usage["groups"] if g["key"]["model"] == "ollama/llama3:8b")
    assert group["key"].keys() == {"model", "day"}
    assert group["key"]["day"] == sidecar.rows()[0]["created_at"][:10]
    assert group["cost_usd"] == 0.0
    for name in ("requests", "attempts", "input_tokens", "output_tokens"):
        assert group[name] > 0, name
        assert usage["totals"][name] >= group[name], name
    (budget,) = usage["budgets"]
    assert {"workspace": "open", **BUDGET}.items() <= budget.items()
    assert (budget["used_usd"], budget["left_usd"]) == (0, budget["limit_usd"])
    assert (await raw(sidecar, "/api/v1/usage")).json()["groups"] == []


async def test_the_last_30_days_by_default(sidecar: RunningSidecar) -> None:
    usage = (await raw(sidecar, "/api/v1/usage")).json()
    start, end = (datetime.fromisoformat(usage[name]) for name in ("from", "to"))
    assert end - start == timedelta(days=30)
    assert abs(datetime.now(UTC) - end) < timedelta(minutes=1)


@pytest.mark.parametrize("target", ["group_by=model,day", "group_by=model&group_by=day", "group_by=model,%20day"])
async def test_groupings_in_every_form(sidecar: RunningSidecar, target: str) -> None:
    usage = (await raw(sidecar, f"/api/v1/usage?{target}")).json()
    assert usage["group_by"] == ["model", "day"]


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-24",
        "2026-11-24T00:00",
        "2026-11-24T00:00:00",
        "2026-11-23T23:00:00Z",
        "2026-11-23T23:00:00.000Z",
        "2026-11-24T00:00:00%2B01:00",
        "2026-11-24T00:00:00+01:00",  # an unencoded plus is a space in a query: what everybody types
        "2026-11-23T18:00:00-05:00",
        "2026-11-24%2000:00",
    ],
)
async def test_a_moment_in_every_form(sidecar: RunningSidecar, moment: str) -> None:
    response = await raw(sidecar, f"/api/v1/usage?from={moment}&to=2026-12-01&tz=Europe/Berlin")
    assert response.status_code == 200, response.text
    assert response.json()["from"] == "2026-11-24T00:00:00+01:00"


async def test_from_is_inclusive_and_to_exclusive(sidecar: RunningSidecar) -> None:
    first = sidecar.rows()[0]["created_at"]
    later = sidecar.rows()[-1]["created_at"]
    assert (await raw(sidecar, f"/api/v1/usage?from={first}")).json()["totals"]["attempts"] == len(sidecar.rows())
    assert (await raw(sidecar, f"/api/v1/usage?from=2020-01-01&to={first}")).json()["totals"]["attempts"] == 0
    assert later >= first


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("from=yesterday", "from"),
        ("from=1700000000", "from"),
        ("from=2026-12-01&to=2026-11-01", "from"),
        ("tz=Mars/X", "tz"),
        ("group_by=name;DROP", "group_by"),
        ("group_by=model,model", "group_by"),
    ],
)
async def test_what_makes_no_sense_names_its_field(sidecar: RunningSidecar, target: str, field: str) -> None:
    response = await raw(sidecar, f"/api/v1/usage?{target}")
    is_problem(response, 422, "invalid_request")
    assert response.json()["field"] == field


# -- the ledger's table ------------------------------------------------------------------------------------------


async def test_the_ledgers_columns_and_the_seeds_query(sidecar: RunningSidecar) -> None:
    with closing(sqlite3.connect(f"file:{sidecar.settings.database_path}?mode=ro", uri=True)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_xinfo(llm_usage_log)")]
        receipt = [row[1] for row in connection.execute("PRAGMA table_xinfo(request_receipts)")]
        by_model = connection.execute(
            "SELECT model, SUM(input_tokens + output_tokens), SUM(cost_usd), AVG(latency_ms) FROM llm_usage_log "
            "WHERE success = 1 AND created_at >= date('now', '-30 days') GROUP BY model"
        ).fetchall()
    assert columns == COLUMNS
    assert receipt == ["request_id", "facts", "route", "context"]
    assert [row[0] for row in by_model] == ["ollama/llama3:8b"]


async def test_a_record_is_a_row(sidecar: RunningSidecar) -> None:
    record = json.loads((await raw(sidecar, "/api/v1/usage/records?limit=1")).text)["records"][0]
    assert list(record) == COLUMNS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["created_at"])
