"""Hostile and mistaken requests to a whole sidecar, and the answers of its routes held to their own document."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
import pytest_asyncio

from app.main import openapi_document
from tests.fakes.sidecar import TOKEN, RunningSidecar, parse_events, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = [
    {"id": "builtin/extractive", "context_window": 1048576},
    # A cloud address nothing may ever be sent to: .invalid resolves nowhere (RFC 2606).
    {"id": "openai/gpt-4o", "api_base": "https://cloud.invalid/v1", "context_window": 128000},
]
RULES = [{"name": "default", "conditions": {}, "model": "builtin/extractive"}]
PROFILES = [
    {"id": "open", "name": "Open", "budgets": [{"period": "week", "limit_usd": 15}]},
    {"id": "work", "block_cloud_apis": True, "system_prompt": "never shown"},
]
CONTEXT = {"chunks": [{"text": "The parser keeps a stack of open brackets.", "path": "parser.py"}]}
JSON_TYPE = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    folder = tmp_path_factory.mktemp("sidecar")
    async with running_sidecar(folder, models=MODELS, rules=RULES, profiles=PROFILES) as running:
        yield running


def held_to_document(path: str, method: str, body: Any, status: str = "200") -> None:
    """Fails where an answer is not what openapi.json says it is."""
    document = openapi_document()
    answer = document["paths"][path][method]["responses"][status]["content"]
    schema = next(content["schema"] for kind, content in answer.items() if kind.endswith("json"))
    jsonschema.validate(body, {**schema, "components": document["components"]})


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (b"", {400}),
        (b"nonsense", {400}),
        (b"[" * 100_000, {400}),
        (b'{"query":' * 30_000, {400}),
        (b'{"query": "a", "query": "b"}', {400}),
        (b'{"query": "\xff\xfe"}', {400}),
        (b'{"query": "\\ud800"}', {422}),
        (b'{"query": "a\\u0000b"}', {422}),
        (b'{"query": "a", "temperature": NaN}', {400}),
        (b'{"query": "a", "temperature": Infinity}', {400}),
        (b'{"query": "a", "temperature": 1e999}', {422}),
        (b'{"query": "a", "max_output_tokens": ' + b"9" * 5000 + b"}", {422}),
        (b'{"query": "a", "max_output_tokens": 9223372036854775808}', {422}),
        (b'{"query": "a", "max_output_tokens": 1e9}', {422}),
        (b'{"query": "a", "max_output_tokens": -1}', {422}),
        (b'{"query": "a", "max_output_tokens": "1"}', {422}),
        (b"[]", {422}),
        (b'"text"', {422}),
        (b"{}", {422}),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/explain"])
async def test_a_body_that_is_not_right_is_refused_and_leaves_no_row(
    sidecar: RunningSidecar, path: str, content: bytes, statuses: set[int]
) -> None:
    before = len(sidecar.rows())
    answer = await sidecar.http.post(path, content=content, headers=JSON_TYPE)
    assert answer.status_code in statuses
    assert answer.headers["content-type"] == "application/problem+json"
    held_to_document(path, "post", answer.json(), "422")
    assert len(sidecar.rows()) == before


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "headers", "extra_body", "custom_llm_provider"])
async def test_an_address_or_a_key_in_the_body_is_refused(sidecar: RunningSidecar, name: str) -> None:
    for path in ("/api/v1/chat", "/api/v1/explain"):
        answer = await sidecar.http.post(path, json={"query": "hi", name: "http://evil.example/sk-aaaabbbbccccdddd"})
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"field": name, "message": "is not a known field"}]
        assert "evil.example" not in answer.text


async def test_a_refusal_repeats_nothing_and_logs_nothing_of_the_prompt(
    sidecar: RunningSidecar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "my-very-private-prompt"
    for body in ({"query": secret, "stream": secret}, {"query": [secret]}, {secret: secret}, {"messages": [secret]}):
        answer = await sidecar.http.post("/api/v1/chat", json=body)
        assert answer.status_code == 422
        values = {k: v for k, v in answer.json().items() if secret not in body or k not in ("detail", "errors")}
        assert secret not in json.dumps(values)
    assert secret not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("session", ["../../x", "%2e%2e%2f", "C:\\", "a" * 10_000, "a b", "x'; --", "a\n"])
async def test_a_session_id_is_an_id(sidecar: RunningSidecar, session: str) -> None:
    answer = await sidecar.http.post("/api/v1/chat", json={"query": "hi", "session_id": session})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "session_id"


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/explain"])
async def test_workspaces_and_models_that_are_not_there(sidecar: RunningSidecar, path: str) -> None:
    unknown = await sidecar.http.post(path, json={"query": "hi", "workspace": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_workspace")
    unknown = await sidecar.http.post(path, json={"query": "hi", "model": "nosuch/model"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_model")
    private = await sidecar.http.post(path, json={"query": "hi", "workspace": "work", "model": "openai/gpt-4o"})
    assert (private.status_code, private.json()["code"]) == (403, "no_permitted_model")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=name;DROP", "group_by"),
        ("group_by=model,model", "group_by"),
        ("group_by=cost_usd", "group_by"),
        ("sort=cost", "sort"),
        ("order_by=1", "order_by"),
        ("tz=Mars/X", "tz"),
        ("tz=../../etc/passwd", "tz"),
        ("from=2026-12-01&to=2026-11-01", "from"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("status=' OR 1=1", "status"),
        ("model=" + "x" * 300, "model"),
    ],
)
async def test_a_report_that_makes_no_sense_is_refused_and_the_field_named(
    sidecar: RunningSidecar, query: str, field: str
) -> None:
    for path in ("/api/v1/usage", "/api/v1/usage/records"):
        answer = await sidecar.http.get(f"{path}?{query}")
        assert answer.status_code == 422
        assert field in answer.json()["detail"]
        held_to_document(path, "get", answer.json(), "422")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=!!", "cursor=YSBi"])
async def test_pages_have_limits(sidecar: RunningSidecar, query: str) -> None:
    answer = await sidecar.http.get(f"/api/v1/usage/records?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]


async def test_a_filter_is_a_value_and_never_sql(sidecar: RunningSidecar) -> None:
    await sidecar.chat(query="What does the parser keep?", context=CONTEXT)
    everything = (await sidecar.http.get("/api/v1/usage/records")).json()["records"]
    assert everything
    for name in ("workspace", "model", "session", "rule"):
        for value in ("' OR 1=1--", "%", "*", "open' --"):
            answer = await sidecar.http.get("/api/v1/usage/records", params={name: value})
            assert (answer.status_code, answer.json()["records"]) == (200, [])
            totals = (await sidecar.http.get("/api/v1/usage", params={name: value})).json()["totals"]
            assert totals["attempts"] == 0


@pytest.mark.parametrize("prompt", ["{{7*7}}", "{0.__class__}", "<|eot_id|>", "</context>", "%s %n", "${HOME}"])
async def test_a_prompt_is_text_and_nothing_else(sidecar: RunningSidecar, prompt: str) -> None:
    body = {"query": prompt, "include_messages": True}
    answer = await sidecar.http.post("/api/v1/explain", json=body)
    assert answer.status_code == 200
    assert prompt in answer.json()["messages"][-1]["content"]


async def test_the_routes_answer_as_their_document_says(sidecar: RunningSidecar) -> None:
    body = {"query": "What does the parser keep?", "context": CONTEXT}
    events = await sidecar.chat(**body)
    assert [events[0].name, events[-1].name] == ["route", "done"]
    whole = await sidecar.http.post("/api/v1/chat", json={**body, "stream": False})
    held_to_document("/api/v1/chat", "post", whole.json())
    assert "stack of open brackets" in whole.json()["text"]
    explained = await sidecar.http.post("/api/v1/explain", json={**body, "include_messages": True})
    held_to_document("/api/v1/explain", "post", explained.json())
    assert "messages" not in (await sidecar.http.post("/api/v1/explain", json=body)).json()
    for path in ("/api/v1/models", "/api/v1/profiles", "/api/v1/rules", "/api/v1/health", "/health"):
        answer = await sidecar.http.get(path)
        assert answer.status_code == 200
        held_to_document(path, "get", answer.json())
    usage = await sidecar.http.get("/api/v1/usage?group_by=model,day&tz=Europe/Berlin")
    held_to_document("/api/v1/usage", "get", usage.json())
    assert usage.json()["groups"][0]["key"]["model"] == "builtin/extractive"
    assert usage.json()["budgets"][0]["workspace"] == "open"
    page = await sidecar.http.get("/api/v1/usage/records?limit=1")
    held_to_document("/api/v1/usage/records", "get", page.json())
    assert len(page.json()["records"]) == 1


async def test_a_profile_shows_that_it_has_a_prompt_and_not_the_prompt(sidecar: RunningSidecar) -> None:
    answer = await sidecar.http.get("/api/v1/profiles")
    assert [p["has_system_prompt"] for p in answer.json()["profiles"]] == [False, True]
    assert "never shown" not in answer.text


async def test_the_id_a_client_gave_is_the_rows(sidecar: RunningSidecar) -> None:
    answer = await sidecar.http.post("/api/v1/chat", json={"query": "hi"}, headers={"X-Request-Id": "client:1"})
    assert parse_events(answer.text)[0].data["request_id"] == answer.headers["x-request-id"] == "client:1"
    assert "client:1" in [row["request_id"] for row in sidecar.rows()]


async def test_the_document_needs_nothing_and_never_changes_by_itself(sidecar: RunningSidecar) -> None:
    served = (await sidecar.http.get("/openapi.json")).json()
    assert served == openapi_document() == openapi_document()
    assert set(served["components"]["schemas"]) >= {"ChatBody", "ExplainBody", "ChatResult", "Problem"}
    text = json.dumps(served)
    names = {ref.split('"')[0] for ref in text.split('"#/components/schemas/')[1:]}
    assert names <= set(served["components"]["schemas"])
    for path, methods in served["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation["description"], path
