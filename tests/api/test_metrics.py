"""`/metrics` as Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.laboratory import Laboratory, laboratory
from tests.fakes.providers import Reply, Status

pytestmark = pytest.mark.asyncio(loop_scope="module")

Labels = frozenset[tuple[str, str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    async with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


async def scrape(lab: Laboratory) -> dict[tuple[str, Labels], float]:
    answer = await lab.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    """The sum over the series that have these labels."""
    return sum(v for (n, given), v in found.items() if n == name and frozenset(labels.items()) <= given)


async def test_what_was_asked_is_counted(lab: Laboratory) -> None:
    before = await scrape(lab)
    lab.provider.script(
        Reply(input_tokens=1000, output_tokens=100, cached_input_tokens=200, reasoning_tokens=7), model="priced"
    )
    session = (await lab.http.post("/api/v1/sessions", json={"id": "secret-session", "workspace": "open"})).json()
    await lab.whole(query="hello", model="openai/priced", session_id=session["id"], task_type="made_up_task")
    lab.provider.script(Status(503), Status(503), Status(503), model="small")
    await lab.post(query="hello", stream=False)
    after = await scrape(lab)

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    priced = {"gen_ai_request_model": "openai/priced", "gen_ai_provider_name": "openai"}
    assert grew("gen_ai_client_operation_duration_seconds_count", error_type="", **priced) == 1
    assert grew("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **priced) == 1000
    assert grew("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **priced) == 100
    assert grew("gen_ai_client_operation_time_to_first_chunk_seconds_count", **priced) == 1
    assert grew("sidecar_tokens_total", model="openai/priced", type="cached_input") == 200
    cost = (800 * 2 + 200 * 0.5 + 100 * 10) / 1e6
    assert grew("sidecar_cost_usd_total", model="openai/priced", workspace="open") == pytest.approx(cost)
    assert grew("sidecar_requests_total") == 2
    failed = grew("sidecar_attempts_total", model="ollama/small", outcome="error")
    assert failed >= 3
    assert grew("gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="ollama/small") >= failed
    assert value(after, "sidecar_ledger_lost_rows_total") == 0
    assert value(after, "sidecar_part_up", part="ledger") == 1
    assert value(after, "sidecar_http_responses_total", code="200") >= 2
    for _, labels in after:
        for text in dict(labels).values():
            assert "secret-session" not in text
            assert "made_up_task" not in text


async def test_there_is_a_limit_to_the_models_told_apart(lab: Laboratory) -> None:
    metrics = lab.sidecar.services.metrics
    names = {metrics._name(f"openai/wish-{number}") for number in range(1000)}
    assert len(names) <= 201
    assert "other" in names


async def test_openmetrics_where_it_is_asked_for(lab: Laboratory) -> None:
    answer = await lab.http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"sidecar_requests", "gen_ai_client_token_usage", "sidecar_open_streams", "process_cpu_seconds"} <= names


async def test_prometheus_own_tool_has_nothing_to_say(lab: Laboratory) -> None:
    """promtool comes with Debian's package `prometheus`; where it is missing, the parsers above are what we have."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    await lab.whole(query="hello", model="openai/priced")
    text = (await lab.http.get("/metrics")).content
    process = await asyncio.create_subprocess_exec(
        tool, "check", "metrics", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(text)
    assert (process.returncode, said.decode()) == (0, "")


async def test_the_queries_of_the_dashboard_for_grafana_are_promql(tmp_path: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    rules = [{"record": f"query:{at}", "expr": expr} for at, expr in enumerate(grafana_queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "grafana", "rules": rules}]}), "utf-8")
    process = await asyncio.create_subprocess_exec(
        tool, "check", "rules", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert f"{len(rules)} rules found" in said.decode()


def grafana_queries() -> list[str]:
    """Every expression of the dashboard, with Grafana's variables as it would fill them in."""
    board = json.loads((Path(__file__).parents[2] / "docs/grafana/llm-sidecar.json").read_text("utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return [expr.replace("$__rate_interval", "1m").replace("$__range", "6h") for expr in found]


async def test_it_needs_the_token(lab: Laboratory) -> None:
    async with httpx.AsyncClient(base_url=lab.sidecar.url, trust_env=False) as stranger:
        assert (await stranger.get("/metrics")).status_code == 401


async def test_every_metric_of_the_dashboard_for_grafana_exists(lab: Laboratory) -> None:
    await lab.whole(query="hello", model="openai/priced")
    answer = await lab.http.get("/metrics")
    known = {sample.name for family in text_string_to_metric_families(answer.text) for sample in family.samples}
    asked = {
        name
        for expr in grafana_queries()
        for name in re.findall(r"\b(?:gen_ai|sidecar|process)_[a-z_]+", re.sub(r"by \([^)]*\)|\{[^}]*\}", "", expr))
    }
    # Seen only where something of the kind has happened.
    assert asked - known <= {"sidecar_cost_unknown_attempts_total", "sidecar_model_server_calls"}
    assert len(asked) >= 10
