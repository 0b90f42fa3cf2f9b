"""Replay: logged facts under other rules, and no call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli.common import CliError
from app.cli.replay import replay_range
from app.config.loader import Config, load
from app.config.proposed import proposed_routing
from app.errors import ConfigError
from app.routing.catalog import ModelCatalog, build_catalog
from app.store.database import Database
from app.usage.queries import parse_query
from app.usage.records import Receipt, Status
from app.usage.replay import AT_ONCE, Proposal, replay, replay_data
from app.usage.rows import Batch, Entry
from tests.unit.ledger_rows import NOW, attempt, ended

MODELS = {
    "models": [
        {"id": "ollama/small", "context_window": 8192},
        {"id": "openai/dear", "input_cost_per_million": 10, "output_cost_per_million": 100},
        {"id": "openai/mystery"},
    ]
}
FACTS = {"contains_code": False, "block_cloud_apis": False, "input_tokens": 10}


def rule(name: str, model: str, **conditions: Any) -> dict[str, Any]:
    return {"name": name, "conditions": conditions, "model": model}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(MODELS))
    (tmp_path / "routing.yaml").write_text(yaml.safe_dump({"rules": [rule("default", "ollama/small")]}))
    return load(tmp_path)


@pytest.fixture
def catalog(config: Config) -> ModelCatalog:
    return build_catalog(config.models, {}, {}, providers=["openai", "ollama"])


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    yield database
    await database.close()


def logged(id: str, *, model: str = "ollama/small", origin: str = "rule", **facts: Any) -> Entry:
    told = {**FACTS, "task_type": "chat", "workspace": "personal", **facts}
    route = {"rule": "default", "candidates": [{"model": model, "origin": origin}]}
    start = attempt(id, model=model, created_at=NOW - timedelta(hours=1), task_type=told["task_type"])
    end = ended(input_tokens=1000, output_tokens=100, cost_micro_usd=0)
    return Entry(start, end, Receipt(start.request_id, told, route, {}))


async def outcome(
    database: Database, config: Config, catalog: ModelCatalog, rules: list[dict[str, Any]], *entries: Entry
) -> dict[str, Any]:
    await database.write(Batch(list(entries), lambda _error, _lost: None).run)
    routing = proposed_routing(yaml.safe_dump({"rules": rules}).encode(), config)
    query = parse_query(start=None, end=None, tz=None, group_by=None, filters={}, now=NOW)
    return replay_data(await replay(database, query, Proposal.of(routing, config, catalog)))


async def test_which_models_and_dollars_change(database: Database, config: Config, catalog: ModelCatalog) -> None:
    rules = [
        rule("think", "openai/dear", task_type="debugging"),
        rule("guess", "openai/mystery", task_type="research"),
        rule("rest", "ollama/small"),
    ]
    entries = [
        logged("1", task_type="debugging"),
        logged("2", task_type="debugging"),
        logged("3", task_type="research"),
        logged("4"),
        logged("5", task_type="debugging", block_cloud_apis=True),
        logged("6", model="openai/dear", origin="request"),  # a wish stays a wish
        Entry(attempt("7", created_at=NOW - timedelta(hours=1)), ended()),  # no receipt
    ]
    found = await outcome(database, config, catalog, rules, *entries)
    assert (found["requests"], found["changed"], found["refused"], found["skipped"]) == (6, 4, 1, 1)
    dear, *rest = found["changes"]
    assert (dear["before"], dear["after"], dear["rule_after"]) == ("ollama/small", "openai/dear", "think")
    assert (dear["requests"], dear["cost_after_usd"]) == (2, 2 * (1000 * 10 + 100 * 100) / 1e6)
    by_refusal = {change["refusal"]: change for change in rest}
    assert by_refusal["no_permitted_model"]["after"] is None
    assert (by_refusal[None]["after"], by_refusal[None]["unknown_after"]) == ("openai/mystery", 1)
    assert found["totals"]["unknown_after"] == 1


async def test_the_same_rules_change_nothing(database: Database, config: Config, catalog: ModelCatalog) -> None:
    count = AT_ONCE + 5  # more than a read
    found = await outcome(
        database, config, catalog, [rule("default", "ollama/small")], *(logged(str(n)) for n in range(count))
    )
    assert (found["requests"], found["changes"]) == (count, [])


async def test_what_a_failed_first_model_cost_is_part_of_before(
    database: Database, config: Config, catalog: ModelCatalog
) -> None:
    first = logged("1", model="openai/dear")
    failed = Entry(first.start, ended(status=Status.ERROR, cost_micro_usd=7), first.receipt)
    second = attempt("2", request_id=first.start.request_id, attempt=2, model="openai/mystery", created_at=NOW)
    answered = Entry(second, ended(cost_micro_usd=None))
    found = await outcome(database, config, catalog, [rule("default", "ollama/small")], failed, answered)
    (change,) = found["changes"]
    assert (change["before"], change["after"]) == ("openai/mystery", "ollama/small")
    assert (change["requests"], change["unknown_before"], change["cost_after_usd"]) == (1, 1, 0.0)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"rules: [", "routing.yaml"),
        (b"rules: [{name: a, conditions: {}}]", "model"),
        (b"rules: [{name: a, conditions: {}, model: ollama/other, timeout: 3}]", "timeout"),
        (b"rules: [{name: a, conditions: {nope: 1}, model: ollama/small}]", "nope"),
    ],
)
def test_rules_that_are_none_are_refused(config: Config, catalog: ModelCatalog, text: bytes, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        Proposal.of(proposed_routing(text, config), config, catalog)


@pytest.mark.parametrize("text", ["last-week", "today", "7d", "2026-11-01", "2026-11-01..2026-11-08", "last-month"])
def test_ranges(text: str) -> None:
    start, end = replay_range(text, NOW.astimezone())
    assert end is None or start < end


@pytest.mark.parametrize("text", ["", "soon", "7y", "2026-13-01", "..", "2026-11-01..x"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="is no range"):
        replay_range(text, NOW.astimezone())
