"""Prompt agents: their templates, when an answer is news, and what `config check` says of a wrong entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.agents.answers import compile_when, fill, template_problem
from app.agents.prompt import PromptAgent
from app.agents.registry import check_agents
from app.config.loader import load
from app.errors import ConfigError, InvalidRequest
from app.routing.conditions import ConditionError
from tests.fakes.sidecar import write_config


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello $name, ${name}s", "Hello Ann, Anns"),
        ("it costs $$5", "it costs $5"),
        ("{{7*7}} {0.__class__} {name}", "{{7*7}} {0.__class__} {name}"),
    ],
)
def test_fields_are_filled_and_nothing_is_evaluated(template: str, expected: str) -> None:
    assert template_problem(template, ["name"]) == ""
    assert fill(template, {"name": "Ann"}, "the prompt") == expected


@given(st.text())
def test_a_value_is_put_in_as_it_is(value: str) -> None:
    assert fill("<$a>", {"a": value}, "x") == f"<{value}>"


@pytest.mark.parametrize(
    ("template", "says"), [("$5", "begins no field"), ("$nme", "`nme`"), ("${", "begins no field")]
)
def test_a_wrong_template(template: str, says: str) -> None:
    assert says in template_problem(template, ["name"])


def test_a_field_nobody_filled() -> None:
    with pytest.raises(InvalidRequest, match=r"input\.name"):
        fill("$name", {}, "the prompt")


@pytest.mark.parametrize(
    ("when", "answer", "holds"),
    [
        ({}, {}, True),
        ({"urgent": True}, {"urgent": True}, True),
        ({"urgent": True}, {"urgent": False}, False),
        ({"urgent": True}, {}, False),
        ({"score": {"gte": 0.8}}, {"score": 0.9}, True),
        ({"score": {"gte": 0.8}}, {"score": "0.9"}, False),
        ({"text": {"matches": "(?i)broken"}}, {"text": "It is BROKEN"}, True),
        ({"any": [{"a": 1}, {"b": 2}]}, {"b": 2}, True),
        ({"not": {"a": 1}}, {"a": 1}, False),
        ({"where.line": {"gt": 3}}, {"where": {"line": 4}}, True),
    ],
)
def test_when_an_answer_is_news(when: dict[str, Any], answer: dict[str, Any], holds: bool) -> None:
    assert compile_when(when).holds(answer) is holds


def test_why_not_names_the_member() -> None:
    assert compile_when({"urgent": True}).why_not({"urgent": False}) == "urgent is false, needs true"
    with pytest.raises(ConditionError, match="score") as caught:
        compile_when({"score": {"above": 1}})
    assert "metadata" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        ({"prompt": "About $tpic"}, "settings.prompt", "`tpic`"),
        ({"prompt": "x", "retrieve": "$"}, "settings.retrieve", "begins no field"),
        ({"prompt": "x", "schema": {"type": "nonsense"}}, "settings.schema", "no JSON Schema"),
        ({"prompt": "x", "schema": {"$ref": "http://127.0.0.1:1/s"}}, "settings.schema", "does not hold"),
        ({"prompt": "x", "schema": {"properties": {"a": {"$ref": "#/$defs/b"}}}}, "settings.schema", "#/$defs/b"),
        ({"prompt": "x", "notify": {"title": "$first"}}, "settings.notify.title", "`first`"),
        ({"prompt": "x", "notify": {"when": {"a": {"above": 1}}}}, "settings.notify.when.a.above", "operator"),
        ({"prompt": "x", "shedule": 1}, "settings", "shedule"),
        ({"prompt": "x", "chunks": 0}, "settings.chunks", "at least 1"),
    ],
)
def test_a_wrong_entry_is_named_by_its_field(tmp_path: Path, settings: dict[str, Any], field: str, says: str) -> None:
    write_config(
        tmp_path,
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    )
    entry = {"name": "mine", "agent": "prompt", "settings": settings, "input": {"topic": "rust"}}
    (tmp_path / "agents.yaml").write_text(yaml.safe_dump({"agents": [entry]}), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, [check_agents({"prompt": PromptAgent})])
    assert f"agents[0].{field}" in caught.value.detail
    if says != "shedule":
        assert says in caught.value.detail


def test_a_right_entry(tmp_path: Path) -> None:
    write_config(
        tmp_path,
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    )
    settings = {
        "prompt": "About $topic on $date, after $last_answer",
        "retrieve": "$topic",
        "schema": {
            "type": "object",
            "properties": {"first": {"$ref": "#/$defs/words"}},
            "$defs": {"words": {"type": "string"}},
        },
        "notify": {"title": "$first of $topic", "body": "$answer", "when": {"changed": True}},
    }
    entry = {"name": "mine", "agent": "prompt", "settings": settings, "input": {"topic": "rust"}}
    (tmp_path / "agents.yaml").write_text(yaml.safe_dump({"agents": [entry]}), "utf-8")
    load(tmp_path, [check_agents({"prompt": PromptAgent})])
