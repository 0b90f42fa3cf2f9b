"""What can be looked at: models, profiles, rules, health, usage and its records, the OpenAPI document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import pytest_asyncio

from app.main import openapi_document
from tests.fakes.laboratory import RULES, Laboratory, laboratory
from tests.fakes.providers import Reply, Status
from tests.fakes.sidecar import running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
SUMS = ("input_tokens", "output_tokens", "cached_input_tokens", "cost_micro_usd")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    """A laboratory in which a few things have happened."""
    async with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        lab.provider.script(Reply(input_tokens=1000, output_tokens=100, cached_input_tokens=400))
        await lab.chat(query="hi", model="openai/priced")
        await lab.chat(query="hi", workspace="work")
        await lab.chat(query="hi", model="openai/unpriced", task_type="creative")
        lab.provider.script(Status(404))
        await lab.chat(query="hi", model="ollama/listed")
        lab.provider.script(Status(401))
        await lab.chat(query="hi", task_type="broken")
        yield lab


async def get(lab: Laboratory, path: str, **params: Any) -> dict[str, Any]:
    response = await lab.http.get(path, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


# -- models, profiles, rules -------------------------------------------------------------------------------------


async def test_models_say_what_is_known_and_from_where(lab: Laboratory) -> None:
    models = {m["id"]: m for m in (await get(lab, "/api/v1/models"))["models"]}
    small, priced, mystery = models["ollama/small"], models["openai/priced"], models["ollama/mystery"]
    assert (small["location"], small["context_window"]) == ("loopback", {"value": 8192, "source": "config"})
    assert small["price"]["value"]["input"] == 0
    assert priced["location"] == "cloud"
    assert priced["price"] == {
        "value": {"input": 2, "output": 10, "cached_input": 0.5, "cache_write": None, "reasoning": None},
        "source": "config",
    }
    assert mystery["context_window"] == {"value": 8192, "source": "default"}
    assert any("8,192" in warning for warning in mystery["warnings"])
    assert models["openai/unpriced"]["price"]["value"] is None
    assert set(models["ollama/blind"]["lacks"]) == {"images", "tools", "response_format"}
    assert models["builtin/extractive"]["location"] == "in_process"


async def test_models_are_available_where_their_server_lists_them(lab: Laboratory) -> None:
    models = {m["id"]: m["available"] for m in (await get(lab, "/api/v1/models"))["models"]}
    assert models["ollama/listed"] is True, "x equals x:latest"
    assert models["ollama/small"] is True
    assert models["ollama/mystery"] is False
    assert models["builtin/extractive"] is True
    events = await lab.chat(query="hi", model="ollama/mystery")
    assert events[-1].data["model"] == "ollama/mystery", "it is tried all the same"


async def test_profiles(lab: Laboratory) -> None:
    found = await get(lab, "/api/v1/profiles")
    assert found["default_workspace"] == "open"
    profiles = {p["id"]: p for p in found["profiles"]}
    assert {name: p["block_cloud_apis"] for name, p in profiles.items()} == {"open": False, "work": True, "shy": True}
    assert profiles["shy"]["local_fallback"] == "ollama/small"
    assert "You are terse" not in json.dumps(found)


async def test_rules_in_their_order(lab: Laboratory) -> None:
    rules = (await get(lab, "/api/v1/rules"))["rules"]
    assert [rule["name"] for rule in rules] == [rule["name"] for rule in RULES]
    assert rules[0]["conditions"] == {"metadata.tier": "gold", "metadata.score": {"gte": 3}}
    assert (rules[0]["params"], rules[0]["max_output_tokens"]) == ({"top_k": 3, "temperature": 0.1}, 77)


# -- health ------------------------------------------------------------------------------------------------------


async def test_health_for_whoever_asks(lab: Laboratory) -> None:
    async with httpx.AsyncClient(base_url=lab.sidecar.url, trust_env=False) as stranger:
        response = await stranger.get("/health")
        assert (response.status_code, response.json()["status"]) == (200, "ok")
        assert str(lab.sidecar.config_dir) not in response.text
        for page in ("health", "models", "profiles", "rules", "usage", "usage/records"):
            assert (await stranger.get(f"/api/v1/{page}")).status_code == 401


async def test_health_in_detail(lab: Laboratory) -> None:
    found = await get(lab, "/api/v1/health")
    assert found["status"] == "ok"
    named = {"config", "ledger", "index", "embedder", "litellm", "scheduler", "models", "agents", "notifications"}
    assert named <= set(found["parts"])
    assert found["parts"]["scheduler"]["looked_at"]
    assert found["parts"]["ledger"]["waiting"] == 0
    servers = found["parts"]["models"]["servers"]
    assert servers[lab.provider.url]["status"] == "ok"


async def test_every_endpoint_of_a_model_is_named_in_health(tmp_path: Path) -> None:
    models = [
        {"id": "openai/far", "api_base": "http://127.0.0.1:9/v1", "location": "cloud"},
        {"id": "ollama/near", "api_base": "http://127.0.0.1:9"},
        {"id": "gpt-4o"},
    ]
    rules = [{"name": "all", "conditions": {}, "model": "openai/far"}]
    async with running_sidecar(tmp_path, models=models, rules=rules) as sidecar:
        servers = (await sidecar.http.get("/api/v1/health")).json()["parts"]["models"]["servers"]
    assert {name: server["status"] for name, server in servers.items()} == {
        "http://127.0.0.1:9/v1": "ok",
        "http://127.0.0.1:9": "down",
        "https://api.openai.com/v1": "ok",
    }
    assert servers["http://127.0.0.1:9"]["remedy"]


# -- usage -------------------------------------------------------------------------------------------------------


async def test_totals_are_the_sums_of_the_rows(lab: Laboratory) -> None:
    totals, rows = (await get(lab, "/api/v1/usage"))["totals"], lab.sidecar.rows()
    for name in SUMS:
        assert totals[name] == sum(row[name] or 0 for row in rows), name
    assert totals["attempts"] == len(rows)
    assert totals["requests"] == len({row["request_id"] for row in rows})
    assert totals["errors"] == sum(row["status"] == "error" for row in rows)
    assert totals["cost_unknown"] == sum(row["cost_micro_usd"] is None for row in rows)
    assert totals["cost_usd"] == pytest.approx(totals["cost_micro_usd"] / 1e6)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("model", "model"),
        ("workspace", "workspace_profile_id"),
        ("task_type", "task_type"),
        ("rule", "rule"),
        ("location", "location"),
        ("provider", "provider"),
    ],
)
async def test_groups_are_the_rows_by_that_column(lab: Laboratory, name: str, column: str) -> None:
    rows = lab.sidecar.rows()
    groups = {group["key"][name]: group for group in (await get(lab, "/api/v1/usage", group_by=name))["groups"]}
    assert set(groups) == {row[column] for row in rows}
    for key, group in groups.items():
        own = [row for row in rows if row[column] == key]
        assert group["attempts"] == len(own)
        for total in SUMS:
            assert group[total] == sum(row[total] or 0 for row in own)


async def test_a_group_of_unknown_costs_is_null(lab: Laboratory) -> None:
    groups = (await get(lab, "/api/v1/usage", group_by="model"))["groups"]
    assert next(g for g in groups if g["key"]["model"] == "openai/unpriced")["cost_usd"] is None


async def test_two_groupings_filters_and_a_range(lab: Laboratory) -> None:
    found = await get(lab, "/api/v1/usage", group_by="model,day", tz="Europe/Berlin", workspace="work")
    assert {group["key"]["model"] for group in found["groups"]} == {"ollama/small"}
    assert all(set(group["key"]) == {"model", "day"} for group in found["groups"])
    today = datetime.now(UTC)
    past = {"from": (today - timedelta(days=9)).isoformat(), "to": (today - timedelta(days=8)).isoformat()}
    assert (await get(lab, "/api/v1/usage", **past))["totals"]["attempts"] == 0
    assert (await get(lab, "/api/v1/usage", model="' OR 1=1--"))["totals"]["attempts"] == 0


@pytest.mark.parametrize(
    "params",
    [
        {"group_by": "name;DROP"},
        {"sort": "model"},
        {"tz": "Mars/X"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "yesterday"},
        {"status": "great"},
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_a_422(lab: Laboratory, params: dict[str, str]) -> None:
    response = await lab.http.get("/api/v1/usage", params=params)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request"), response.text


async def test_records_page_by_page(lab: Laboratory) -> None:
    everything = (await get(lab, "/api/v1/usage/records"))["records"]
    rows = {row["id"]: row for row in lab.sidecar.rows()}
    assert {record["id"] for record in everything} == set(rows)
    assert [r["created_at"] for r in everything] == sorted((r["created_at"] for r in everything), reverse=True)
    for record in everything:
        assert {name: rows[record["id"]][name] for name in record} == record
    pages, cursor = [], None
    while True:
        page = await get(lab, "/api/v1/usage/records", limit=2, **({"cursor": cursor} if cursor else {}))
        assert len(page["records"]) <= 2
        pages += page["records"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == everything


# -- the document ------------------------------------------------------------------------------------------------


async def test_the_document_describes_what_is_answered(lab: Laboratory) -> None:
    document = await get(lab, "/openapi.json")
    assert document["openapi"].startswith("3.")
    for path in ("models", "profiles", "rules", "health", "usage", "usage/records"):
        schema = document["paths"][f"/api/v1/{path}"]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        answer = await get(lab, f"/api/v1/{path}")
        jsonschema.validate(answer, {**schema, "components": document["components"]})
    chat = document["paths"]["/api/v1/chat"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(await lab.whole(query="hi"), {**chat, "components": document["components"]})
    explain = document["paths"]["/api/v1/explain"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    found = await lab.explain(query="hi", include_messages=True)
    jsonschema.validate(found, {**explain, "components": document["components"]})


async def test_every_reference_in_the_document_leads_somewhere() -> None:
    document = openapi_document()
    schemas = document["components"]["schemas"]

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()

    for reference in references(document):
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in schemas
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [o for path in document["paths"].values() for o in path.values() if isinstance(o, dict)]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(operation.get("summary") for operation in operations)


async def test_a_period_at_a_glance(lab: Laboratory) -> None:
    totals = (await get(lab, "/api/v1/usage", **{"from": "2000-01-01"}))["totals"]
    found = await get(lab, "/api/v1/usage/summary", period="month", tz="Europe/Berlin")
    if found["figures"]["attempts"] == totals["attempts"]:  # unless the month began while these tests ran
        assert found["figures"]["cost_micro_usd"] == totals["cost_micro_usd"]
        assert found["patterns"][0]["text"].endswith("of this month's cost")
        assert found["savings"]["reference"] is not None
        assert found["projection"]["cost_usd"] >= found["figures"]["cost_usd"]
    assert {c["task_type"] for c in found["comparisons"]} <= {"chat", "creative", "broken"}
    for wrong in ({"period": "year"}, {"tz": "Mars/X"}, {"other": "1"}):
        assert (await lab.http.get("/api/v1/usage/summary", params=wrong)).status_code == 422


async def test_a_request_its_receipt_and_the_verdict(lab: Laboratory) -> None:
    row = next(row for row in lab.sidecar.rows() if row["model"] == "openai/priced")
    path = f"/api/v1/requests/{row['request_id']}"
    found = await get(lab, path)
    assert [attempt["id"] for attempt in found["attempts"]] == [row["id"]]
    assert (found["receipt"]["facts"]["task_type"], found["feedback"]) == ("chat", None)
    for score, note in ((2, "slow"), (5, None)):
        response = await lab.http.post(f"{path}/feedback", json={"score": score, "note": note})
        assert (response.status_code, response.json()["model"]) == (200, "openai/priced")
    assert (await get(lab, path))["feedback"]["score"] == 5
    compared = (await get(lab, "/api/v1/usage/summary", period="month"))["comparisons"]
    verdicts = {c["model"]: c["verdict"] for c in compared if c["task_type"] == "chat"}
    assert verdicts["openai/priced"] == {"count": 1, "mean": 5.0}
    for body in ({"score": 6}, {"score": 0}, {"score": 2.5}, {"score": "5"}, {}, {"score": 3, "note": "x" * 2001}):
        assert (await lab.http.post(f"{path}/feedback", json=body)).status_code == 422, body
    for method, unknown in (("GET", "/api/v1/requests/none"), ("POST", "/api/v1/requests/none/feedback")):
        response = await lab.http.request(method, unknown, json={"score": 1} if method == "POST" else None)
        assert (response.status_code, response.json()["code"]) == (404, "request_not_found")


@pytest.mark.parametrize("format", ["csv", "ndjson"])
async def test_the_rows_as_a_file(lab: Laboratory, format: str) -> None:
    rows = {row["id"]: row for row in lab.sidecar.rows()}
    response = await lab.http.get("/api/v1/usage/export", params={"format": format, "from": "2000-01-01"})
    assert response.status_code == 200
    assert f".{format}" in response.headers["content-disposition"]
    if format == "csv":
        found = list(csv.DictReader(io.StringIO(response.text)))
    else:
        found = [json.loads(line) for line in response.text.splitlines()]
    assert {row["id"] for row in found} == set(rows)
    for row in found:
        cost = rows[row["id"]]["cost_micro_usd"]
        assert row["cost_micro_usd"] == (("" if cost is None else str(cost)) if format == "csv" else cost)
    assert (await lab.http.get("/api/v1/usage/export", params={"format": "xml"})).status_code == 422


async def test_the_sums_agree_with_the_rows(lab: Laboratory) -> None:
    found = (await lab.http.post("/api/v1/usage/verify")).json()
    assert (found["ok"], found["different"], found["rows"]) == (True, 0, len(lab.sidecar.rows()))
