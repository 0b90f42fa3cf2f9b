"""The numbered hostile cases of the door, of bodies and of ids, held against every operation of openapi.json.

A route that is added is tested here without anybody writing a line: only what a case cannot apply to is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from app.main import openapi_document
from tests.fakes.providers import FakeProvider
from tests.fakes.scripted_chat import raw
from tests.fakes.sidecar import TOKEN, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    takes_json: bool
    parameters: tuple[str, ...]
    """Names of the query's."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def at(self, value: str) -> str:
        """The path with this value, percent-encoded, for every parameter in it."""
        parts = [quote(value, "") if part.startswith("{") else part for part in self.path.split("/")]
        return "/".join(parts)


def operations() -> Iterator[Operation]:
    for path, methods in openapi_document()["paths"].items():
        for method, told in methods.items():
            body = "application/json" in told.get("requestBody", {}).get("content", {})
            names = tuple(p["name"] for p in told.get("parameters", ()) if p["in"] == "query")
            yield Operation(method.upper(), path, body, names)


OPERATIONS = list(operations())
GUARDED = [o for o in OPERATIONS if o.path != "/health"]
WITH_BODY = [o for o in OPERATIONS if o.takes_json]
WITH_ID = [o for o in OPERATIONS if "{" in o.path]
WITH_QUERY = [o for o in OPERATIONS if o.parameters]


@dataclass
class Lab:
    url: str
    provider: FakeProvider
    stranger: httpx.AsyncClient
    owner: httpx.AsyncClient

    @asynccontextmanager
    async def answer(
        self, client: httpx.AsyncClient, operation: Operation, **sent: Any
    ) -> AsyncIterator[httpx.Response]:
        """What comes back; of an endless stream its head alone."""
        target = httpx.URL(self.url, raw_path=(sent.pop("path", None) or operation.at("nothing")).encode())
        async with client.stream(operation.method, target, **sent) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                await response.aread()
                assert TOKEN not in response.text
            yield response

    async def refusal(self, client: httpx.AsyncClient, operation: Operation, **sent: Any) -> httpx.Response:
        """The answer, which must be a problem and must have asked no model."""
        async with self.answer(client, operation, **sent) as response:
            assert 400 <= response.status_code < 500, (str(operation), response.status_code)
            assert not [name for name in response.headers if name.startswith("access-control")], str(operation)
            assert isinstance(response.json(), dict)
        assert self.provider.chats == [], f"{operation} asked a model"
        return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    async with FakeProvider() as provider:
        models = [{"id": "ollama/small", "api_base": provider.url, "context_window": 8192}]
        rules = [{"name": "all", "conditions": {}, "model": "ollama/small"}]
        async with (
            running_sidecar(tmp_path_factory.mktemp("routes"), models=models, rules=rules) as sidecar,
            httpx.AsyncClient(trust_env=False, timeout=20) as stranger,
        ):
            yield Lab(sidecar.url, provider, stranger, sidecar.http)


@pytest.fixture
def lab(running: Lab) -> Lab:
    running.provider.forget()
    return running


async def test_1_and_2_no_token_a_wrong_one_one_in_the_query(lab: Lab) -> None:
    for operation in GUARDED:
        target = operation.at("nothing")
        wrong = {"Authorization": "Bearer wrong"}
        answers = [
            await lab.refusal(lab.stranger, operation),
            await lab.refusal(lab.stranger, operation, headers=wrong),
            await lab.refusal(lab.stranger, operation, headers={"x-api-key": "wrong"}),
            await lab.refusal(lab.stranger, operation, path=f"{target}?token={TOKEN}&access_token={TOKEN}"),
        ]
        assert {a.status_code for a in answers} == {401}, str(operation)
        bodies = [{k: v for k, v in a.json().items() if k != "request_id"} for a in answers]
        assert all(body == bodies[0] for body in bodies), f"{operation}: a stranger learns something"


@pytest.mark.parametrize("host", ["evil.com", "localhost.evil.com", "localhost.", "127.0.0.1/health?x="])
async def test_3_foreign_hosts(lab: Lab, host: str) -> None:
    for operation in OPERATIONS:
        answer = await lab.refusal(lab.owner, operation, headers={"Host": host})
        assert answer.status_code == 421, str(operation)


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "http://tauri.localhost.evil.com"])
async def test_5_and_6_foreign_origins(lab: Lab, origin: str) -> None:
    for operation in OPERATIONS:
        answer = await lab.refusal(lab.owner, operation, headers={"Origin": origin})
        assert answer.status_code == 403, str(operation)
        asking = Operation("OPTIONS", operation.path, False, ())
        headers = {"Origin": origin, "Access-Control-Request-Method": operation.method}
        assert (await lab.refusal(lab.stranger, asking, headers=headers)).status_code == 403, str(operation)


LIMIT = 16 * 1024 * 1024
DEEP = b"[" * 100_000
BODIES = {
    "7 text": (b'{"query": "hi"}', "text/plain", {415}),
    "7 form": (b"query=hi", "application/x-www-form-urlencoded", {415}),
    "7 multipart": (b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\nhi\r\n--x--',
                    "multipart/form-data; boundary=x", {415}),
    "9 deep": (DEEP, "application/json", {400}),
    "9 deep object": (b'{"a":' * 50_000, "application/json", {400}),
    "10 NaN": (b'{"query": NaN}', "application/json", {400, 422}),
    "10 long": (b'{"query": ' + b"9" * 5000 + b"}", "application/json", {400, 422}),
    "11 surrogate": (b'{"query": "\\ud800"}', "application/json", {400, 422}),
    "12 bytes": (b'{"query": "\xff"}', "application/json", {400}),
    "13 twice": (b'{"query": "a", "query": "b"}', "application/json", {400}),
    "no object": (b'["query"]', "application/json", {400, 422}),
    "nothing": (b"null", "application/json", {400, 422}),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
async def test_7_to_13_bodies(lab: Lab, case: str) -> None:
    content, kind, expected = BODIES[case]
    for operation in WITH_BODY:
        answer = await lab.refusal(lab.owner, operation, content=content, headers={"content-type": kind})
        assert answer.status_code in expected, (str(operation), answer.status_code)


async def test_8_a_body_over_the_limit(lab: Lab) -> None:
    host = lab.url.removeprefix("http://")
    for operation in WITH_BODY:
        for length in (f"Content-Length: {LIMIT + 1}", "Content-Length: 99999999999999999999"):
            head = f"{operation.method} {operation.at('nothing')} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n"
            auth = f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\r\n"
            status, _ = await raw(int(host.partition(":")[2]), (head + auth).encode())
            assert status in ((413,) if str(LIMIT + 1) in length else (400, 413)), str(operation)


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key"])
async def test_14_no_body_names_a_server_or_a_key(lab: Lab, name: str) -> None:
    for operation in WITH_BODY:
        body = {"model": "auto", "query": "hi", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        answer = await lab.refusal(lab.owner, operation, json={**body, name: "http://evil.example"})
        # Of what is not there nothing is read.
        expected = (400, 404, 422) if operation in WITH_ID else (400, 422)
        assert answer.status_code in expected, (str(operation), answer.status_code)
        assert "evil.example" not in answer.text


IDS = ["../../x", "%2e%2e%2f", "C:\\", "CON", "a" * 10_000, "x' OR 1=1 --", "x\x00y", "\ufeff", "{0.__class__}", "*"]


@pytest.mark.parametrize("value", IDS, ids=lambda v: ascii(v[:20]))
async def test_16_and_19_ids(lab: Lab, value: str) -> None:
    """Nothing by that name is there, and nothing is done: an answer of the 4xx kind, and never one that deletes."""
    for operation in WITH_ID:
        sent: dict[str, Any] = {"json": {}} if operation.takes_json else {}
        answer = await lab.refusal(lab.owner, operation, path=operation.at(value), **sent)
        assert answer.status_code in (403, 404, 405, 409, 422), (str(operation), answer.status_code)


VALUES = [
    "' OR 1=1--",
    "name;DROP TABLE llm_usage_log",
    "-1",
    "9" * 5000,
    "NaN",
    "\x00",
    "\ud7ff\uffff",
    "Mars/X",
    "../../x",
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: ascii(v[:20]))
async def test_17_and_18_queries(lab: Lab, value: str) -> None:
    """A value is bound or refused: no error of ours, and no rows of anybody's."""
    for operation in WITH_QUERY:
        for name in operation.parameters:
            sent: dict[str, Any] = {"json": {}} if operation.takes_json else {}
            target = f"{operation.at('nothing')}?{name}={quote(value)}"
            async with lab.answer(lab.owner, operation, path=target, **sent) as answer:
                assert answer.status_code < 500, (target, answer.status_code)
    assert lab.provider.chats == []


async def test_every_problem_is_json_and_says_which_request(lab: Lab) -> None:
    for operation in WITH_BODY:
        answer = await lab.refusal(lab.owner, operation, content=b"{", headers={"content-type": "application/json"})
        assert answer.headers["x-request-id"], str(operation)
