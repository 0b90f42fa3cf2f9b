"""Traces as a collector receives them: real OTLP over loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.services.tracing import _near, open_tracing
from tests.fakes.laboratory import laboratory
from tests.fakes.providers import Reply, Status

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SECRET = "the words of a private question"


@asynccontextmanager
async def collector(*, redirect: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        if redirect and request.path != "/elsewhere":
            return web.Response(status=307, headers={"location": "/elsewhere"})
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


def spans_of(bodies: list[bytes]) -> list[Any]:
    found = []
    for body in bodies:
        message = ExportTraceServiceRequest()
        message.ParseFromString(body)
        found += [s for resource in message.resource_spans for scope in resource.scope_spans for s in scope.spans]
    return found


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def test_a_request_is_a_trace_and_its_attempts_are_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as (url, bodies):
        monkeypatch.setenv(ENDPOINT, url)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        async with laboratory(tmp_path) as lab:
            lab.provider.script(Status(529), Reply(input_tokens=100, output_tokens=10), model="careful")
            answer = await lab.whole(query=SECRET, model="anthropic/careful", workspace="open")
            assert answer["attempt_count"] == 2
        spans = spans_of(bodies)
        root = next(span for span in spans if not span.parent_span_id)
        children = [span for span in spans if span.parent_span_id == root.span_id]
        assert len(spans) == 3
        assert len(children) == 2
        assert {span.trace_id.hex() for span in spans} == {answer["request_id"]}
        failed, went_well = sorted(map(attributes, children), key=lambda a: a["sidecar.attempt"])
        assert failed["error.type"]
        assert went_well["gen_ai.request.model"] == "anthropic/careful"
        assert went_well["gen_ai.provider.name"] == "anthropic"
        assert went_well["gen_ai.usage.input_tokens"] == 100
        assert went_well["sidecar.cost_usd"] == pytest.approx(300e-6)
        assert "error.type" not in went_well
        assert root.start_time_unix_nano <= children[0].start_time_unix_nano
        assert root.end_time_unix_nano >= children[-1].end_time_unix_nano
        everything = b"".join(bodies)
        for private in (SECRET, "workspace", "Hello", "fake provider"):
            assert private.encode() not in everything


async def test_a_collector_that_redirects_draws_nothing_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector(redirect=True) as (url, bodies):
        monkeypatch.setenv(ENDPOINT, url)
        async with laboratory(tmp_path) as lab:
            await lab.whole(query="hello")
        assert len(bodies) == 1


@pytest.mark.parametrize(
    ("endpoint", "near"),
    [
        ("http://127.0.0.1:4318", True),
        ("http://[::1]:4318/v1/traces", True),
        ("http://localhost:4318", True),
        ("http://10.0.0.5:4318", True),
        ("http://10.0.0.6:4318", False),
        ("http://collector.lan:4318", False),
        ("https://collector.example", False),
        ("http://127.0.0.1.evil.com", False),
        ("nonsense", False),
    ],
)
def test_where_private_workspaces_may_be_told_of(endpoint: str, near: bool) -> None:
    assert _near(endpoint, ("10.0.0.5", "collector.lan")) is near


def test_a_private_workspace_is_hidden_from_a_collector_elsewhere() -> None:
    for endpoint, hidden in (("http://192.0.2.1:4318", True), ("http://127.0.0.1:4318", False)):
        tracing = open_tracing({ENDPOINT: endpoint}, "1", lambda workspace: workspace == "work", tuple)
        assert tracing is not None
        try:
            assert tracing.hidden("work", False) is hidden
            assert tracing.hidden("open", True) is hidden, "it was made in private, by a session that was once"
            assert not tracing.hidden("open", False)
        finally:
            tracing.close()


async def test_an_attempt_says_whether_it_was_made_in_private(tmp_path: Path) -> None:
    """Also one in an open workspace, of a session that was private once: a collector elsewhere is told of neither."""
    seen: list[tuple[str, bool]] = []
    async with laboratory(tmp_path) as lab:
        lab.sidecar.services.ledger.observe(lambda start, end, last: seen.append((start.request_id, start.private)))
        sessions = lab.sidecar.services.sessions
        made = await sessions.create(workspace="open")
        await sessions.keep_private(await sessions.load(made.id))
        for given in ({"workspace": "open"}, {"workspace": "work"}, {"session_id": made.id}):
            await lab.whole(query="hello", model="ollama/small", **given)
    assert [private for _, private in seen] == [False, True, True]


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    off = "{'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x', 'OTEL_SDK_DISABLED': 'true'}"
    program = (
        "import sys; from app.services.tracing import open_tracing;"
        f"assert all(open_tracing(e, '1', bool, tuple) is None for e in ({{}}, {off}));"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
