"""Conditions: every operator, every type error, every sentence."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.conditions import (
    FIELDS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    ConditionError,
    check_conditions,
    compile_conditions,
)
from app.routing.facts import RoutingFacts
from app.routing.operators import MAX_PATTERN, MAX_SUBJECT
from tests.unit.config_problems import problems_of

FACTS = RoutingFacts(
    task_type="debugging",
    workspace="thesis",
    contains_code=True,
    block_cloud_apis=False,
    input_tokens=4_700,
    has_tools=True,
    agent="digest",
    hour=14,
    budget_used=0.8,
    metadata={
        "lang": "python",
        "depth": 3,
        "ratio": 0.5,
        "draft": True,
        "none": None,
        "editor": {"name": "Zed", "v": 2},
    },
)
NO_AGENT = replace(FACTS, agent=None)


def holds(raw: Any, facts: RoutingFacts = FACTS) -> bool:
    held, failed = compile_conditions(raw).evaluate(facts)
    assert held == (failed is None) == compile_conditions(raw).hold(facts)
    return held


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, True),
        ({"task_type": "debugging"}, True),
        ({"task_type": "chat"}, False),
        ({"task_type": ["chat", "debugging"]}, True),
        ({"task_type": ["chat"]}, False),
        ({"task_type": {"eq": "debugging"}}, True),
        ({"task_type": {"ne": "debugging"}}, False),
        ({"task_type": {"ne": "chat"}}, True),
        ({"task_type": {"in": ["debugging"]}}, True),
        ({"task_type": {"not_in": ["debugging"]}}, False),
        ({"task_type": {"not_in": ["chat"]}}, True),
        ({"workspace": {"matches": "^the"}}, True),
        ({"workspace": {"matches": "hes"}}, True),
        ({"workspace": {"matches": "(?i)THESIS"}}, True),
        ({"workspace": {"matches": "^hes"}}, False),
        ({"workspace": {"glob": "the*"}}, True),
        ({"workspace": {"glob": "the"}}, False),
        ({"workspace": {"glob": "th?s[i-j]s"}}, True),
        ({"workspace": {"glob": "[!t]*"}}, False),
        ({"workspace": {"glob": "the.*"}}, False),
        ({"contains_code": True}, True),
        ({"contains_code": False}, False),
        ({"block_cloud_apis": False, "has_images": False, "has_tools": True, "session_private": False}, True),
        ({"contains_code": [True, False]}, True),
        ({"input_tokens": 4_700}, True),
        ({"input_tokens": [1, 2]}, False),
        ({"input_tokens": {"lt": 4_700}}, False),
        ({"input_tokens": {"lte": 4_700}}, True),
        ({"input_tokens": {"gt": 4_700}}, False),
        ({"input_tokens": {"gte": 4_700}}, True),
        ({"input_tokens": {"gt": 4_000, "lt": 5_000}}, True),
        ({"input_tokens": {"gt": 4_000, "lt": 4_500}}, False),
        ({"hour": {"gte": 9, "lt": 17}}, True),
        ({"hour": [14]}, True),
        ({"budget_used": {"gte": 0.8}}, True),
        ({"budget_used": {"gt": 1}}, False),
        ({"agent": "digest"}, True),
        ({"agent": {"exists": True}}, True),
        ({"agent": {"exists": False}}, False),
        ({"metadata.lang": "python"}, True),
        ({"metadata.lang": ["go", "python"]}, True),
        ({"metadata.depth": 3}, True),
        ({"metadata.depth": 3.0}, True),
        ({"metadata.depth": "3"}, False),
        ({"metadata.depth": {"gt": 2.5}}, True),
        ({"metadata.lang": {"gt": 2}}, False),
        ({"metadata.draft": True}, True),
        ({"metadata.draft": 1}, False),
        ({"metadata.draft": [1]}, False),
        ({"metadata.draft": {"ne": 1}}, True),
        ({"metadata.draft": {"gt": 0}}, False),
        ({"metadata.editor.name": {"matches": "^Z"}}, True),
        ({"metadata.editor.v": {"lte": 2}}, True),
        ({"metadata.editor": {"exists": True}}, True),
        ({"metadata.editor": "Zed"}, False),
        ({"metadata.editor": {"not_in": ["Zed"]}}, True),
        ({"metadata.lang.deeper": {"exists": True}}, False),
        ({"metadata.lang.deeper": {"exists": False}}, True),
        ({"any": [{"task_type": "chat"}, {"hour": 14}]}, True),
        ({"any": [{"task_type": "chat"}, {"hour": 15}]}, False),
        ({"all": [{"task_type": "debugging"}, {"hour": 14}]}, True),
        ({"all": [{"task_type": "debugging"}, {"hour": 15}]}, False),
        ({"not": {"task_type": "chat"}}, True),
        ({"not": {"task_type": "debugging"}}, False),
        ({"not": {"task_type": "debugging", "hour": 15}}, True),
        ({"not": {"any": [{"hour": 14}, {"all": [{"workspace": "x"}]}]}}, False),
        ({"task_type": "debugging", "any": [{"hour": 1}], "workspace": "thesis"}, False),
    ],
)
def test_operators(raw: dict[str, Any], expected: bool) -> None:
    assert holds(raw) is expected


@pytest.mark.parametrize("key", ["agent", "metadata.nobody", "metadata.none", "metadata.editor.theme"])
@pytest.mark.parametrize(
    "operator",
    [
        {"eq": "x"}, {"ne": "x"}, {"in": ["x"]}, {"not_in": ["x"]}, {"matches": ".*"}, {"glob": "*"}, {"exists": True},
        {"exists": False, "ne": "x"},
    ],
)  # fmt: skip
def test_what_is_absent_fails_everything(key: str, operator: dict[str, Any]) -> None:
    assert not holds({key: operator}, NO_AGENT)
    assert holds({key: {"exists": False}}, NO_AGENT)


@pytest.mark.parametrize("operator", ["lt", "lte", "gt", "gte"])
def test_what_is_absent_has_no_order(operator: str) -> None:
    assert not holds({"metadata.nobody": {operator: 1}})


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        ([], "", "expected a mapping"),
        (None, "", "expected a mapping"),
        ({"task_type": 5}, "task_type", "task type"),
        ({"task_type": "Debugging"}, "task_type", "lower-case"),
        ({"task_type": None}, "task_type", "exists: false"),
        ({"task_type": ["chat", 5]}, "task_type[1]", "the number 5"),
        ({"task_type": []}, "task_type", "at least one"),
        ({"workspace": True}, "workspace", "expected text"),
        ({"contains_code": "yes"}, "contains_code", "true or false"),
        ({"contains_code": 1}, "contains_code", "true or false"),
        ({"contains_code": {"gt": True}}, "contains_code.gt", "does not fit"),
        ({"input_tokens": True}, "input_tokens", "whole number"),
        ({"input_tokens": 1.5}, "input_tokens", "whole number"),
        ({"input_tokens": {"gt": "a"}}, "input_tokens.gt", "whole number"),
        ({"input_tokens": {"gt": True}}, "input_tokens.gt", "whole number"),
        ({"input_tokens": {"matches": "4"}}, "input_tokens.matches", "does not fit"),
        ({"hour": 24}, "hour", "0 to 23"),
        ({"hour": {"gte": -1}}, "hour.gte", "0 to 23"),
        ({"budget_used": "0.5"}, "budget_used", "a number"),
        ({"budget_used": float("nan")}, "budget_used", "a number"),
        ({"budget_used": float("inf")}, "budget_used", "a number"),
        ({"metadata.x": {"gt": "a"}}, "metadata.x.gt", "expected a number"),
        ({"metadata.x": {"gt": True}}, "metadata.x.gt", "expected a number"),
        ({"metadata.x": [[1]]}, "metadata.x[0]", "a list"),
        ({"agent": {"exists": 1}}, "agent.exists", "true or false"),
        ({"agent": {}}, "agent", "mapping of operators"),
        ({"agent": {"equals": "x"}}, "agent.equals", "unknown operator"),
        ({"agent": {"match": "x"}}, "agent.match", "did you mean `matches`"),
        ({"agent": {1: "x"}}, "agent.1", "unknown operator"),
        ({"agent": {"in": "digest"}}, "agent.in", "a list"),
        ({"agent": {"matches": "("}}, "agent.matches", "RE2"),
        ({"agent": {"matches": r"(a)\1"}}, "agent.matches", "RE2"),
        ({"agent": {"matches": "(?=a)"}}, "agent.matches", "RE2"),
        ({"agent": {"matches": 5}}, "agent.matches", "as text"),
        ({"agent": {"matches": ""}}, "agent.matches", "as text"),
        ({"agent": {"matches": "x" * (MAX_PATTERN + 1)}}, "agent.matches", "characters"),
        ({"agent": {"matches": r"(\pL{50}){20}"}}, "agent.matches", "large"),
        ({"agent": {"matches": "\ud800"}}, "agent.matches", "half a character"),
        ({"agent": {"glob": "[z-a]"}}, "agent.glob", "RE2"),
        ({"tasktype": "chat"}, "tasktype", "did you mean `task_type`?"),
        ({"__import__('os')": 1}, "__import__('os')", "unknown key"),
        ({5: 1}, "5", "must be text"),
        ({True: 1}, "true", "must be text"),
        ({"metadata": {"lang": "python"}}, "metadata", "metadata.<name>"),
        ({"metadata.": "x"}, "metadata.", "metadata.<name>"),
        ({"metadata.a..b": "x"}, "metadata.a..b", "metadata.<name>"),
        ({"any": []}, "any", "at least one"),
        ({"any": {"hour": 1}}, "any", "list"),
        ({"any": ["chat"]}, "any[0]", "mapping"),
        ({"any": [{"hour": 1}, {"hour": "x"}]}, "any[1].hour", "0 to 23"),
        ({"all": "x"}, "all", "list"),
        ({"not": [{"hour": 1}]}, "not", "mapping"),
        ({"not": {"any": [{"agent": 5}]}}, "not.any[0].agent", "text"),
    ],
)
def test_what_is_wrong_is_said(raw: Any, path: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_conditions(raw)
    assert caught.value.path == path
    assert message in caught.value.expected


def test_every_problem_of_a_rule_is_reported() -> None:
    with pytest.raises(ConditionError) as caught:
        compile_conditions({"task_type": 5, "hour": "x", "any": [{"nope": 1}], "agent": {"in": [1, 2]}})
    paths = [path for path, _ in caught.value.problems]
    assert paths == ["task_type", "hour", "any[0].nope", "agent.in[0]", "agent.in[1]"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"task_type": ["refactoring", "chat"]}, "task_type is 'debugging', needs one of refactoring, chat"),
        ({"workspace": "work"}, "workspace is 'thesis', needs 'work'"),
        ({"contains_code": False}, "contains_code is true, needs false"),
        ({"input_tokens": {"gt": 5_000, "lt": 9}}, "input_tokens is 4700, needs more than 5000 and less than 9"),
        ({"metadata.nobody": "x"}, "metadata.nobody is absent, needs 'x'"),
        ({"metadata.editor": 1}, "metadata.editor is a dict, needs 1"),
        ({"workspace": {"glob": "w*"}}, "workspace is 'thesis', needs a match of 'w*'"),
        ({"agent": {"exists": False}}, "agent is 'digest', needs no value"),
        (
            {"any": [{"hour": 1}, {"workspace": "x"}]},
            "none of `any` holds: hour is 14, needs 1; workspace is 'thesis', needs 'x'",
        ),
        ({"all": [{"hour": 14}, {"hour": 2}]}, "hour is 14, needs 2"),
        ({"not": {"hour": 14}}, "what stands under `not` holds"),
        ({"task_type": "debugging", "hour": 1, "workspace": "x"}, "hour is 14, needs 1"),
    ],
)
def test_first_failure_in_words(raw: dict[str, Any], sentence: str) -> None:
    assert compile_conditions(raw).first_failure(FACTS) == sentence


def nested(depth: int) -> dict[str, Any]:
    raw: dict[str, Any] = {"hour": 1}
    for _ in range(depth):
        raw = {"not": raw}
    return raw


def test_depth_is_limited() -> None:
    assert holds(nested(MAX_DEPTH)) is False
    with pytest.raises(ConditionError, match="nested"):
        compile_conditions(nested(MAX_DEPTH + 1))
    with pytest.raises(ConditionError, match="nested"):
        compile_conditions(nested(50_000))


def test_what_refers_to_itself_or_multiplies_ends() -> None:
    loop: dict[str, Any] = {}
    loop["any"] = [loop, loop]
    bomb: dict[str, Any] = {"hour": 1}
    for _ in range(MAX_DEPTH - 1):
        bomb = {"any": [bomb] * 10}
    wide: dict[str, Any] = {"any": [{}] * (MAX_CONDITIONS + 1)}
    for raw in (loop, bomb, wide):
        with pytest.raises(ConditionError, match=f"nested|{MAX_CONDITIONS:,}"):
            compile_conditions(raw)


def test_regular_expressions_run_in_linear_time() -> None:
    conditions = compile_conditions({"metadata.x": {"matches": "(a+)+$"}})
    facts = replace(FACTS, metadata={"x": "a" * (MAX_SUBJECT - 1) + "!"})
    start = time.perf_counter()
    assert not conditions.hold(facts)
    assert time.perf_counter() - start < 1.0  # a backtracking engine takes years


def test_subjects_no_regular_expression_likes() -> None:
    conditions = compile_conditions({"metadata.x": {"matches": "^a.c$"}})
    assert conditions.hold(replace(FACTS, metadata={"x": "a\ud800c"}))
    assert not conditions.hold(replace(FACTS, metadata={"x": "a" * (MAX_SUBJECT + 1)}))
    assert conditions.first_failure(replace(FACTS, metadata={"x": 10**5_000})) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from([*FIELDS, "any", "all", "not", "metadata.x", "metadata.x.y"]) | st.text(max_size=8)
operators = st.sampled_from(["eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "matches", "glob", "exists"])
raw_conditions = st.dictionaries(keys, json_values | st.dictionaries(operators, json_values, max_size=2), max_size=4)


@given(raw=raw_conditions, metadata=st.dictionaries(st.sampled_from(["x", "y"]), json_values))
def test_whatever_is_written_compiles_or_says_what_is_wrong(raw: dict[str, Any], metadata: dict[str, Any]) -> None:
    try:
        conditions = compile_conditions(raw)
    except ConditionError:  # said what is wrong, which the tables above look at
        return
    for facts in (NO_AGENT, replace(FACTS, metadata=metadata)):
        assert conditions.hold(facts) == (conditions.first_failure(facts) is None)


@given(value=st.integers(), limit=st.integers(min_value=0, max_value=10**9))
def test_order_operators_agree_with_python(value: int, limit: int) -> None:
    facts = replace(FACTS, input_tokens=value)
    assert holds({"input_tokens": {"lt": limit}}, facts) == (value < limit)
    assert holds({"input_tokens": {"gte": limit}}, facts) == (value >= limit)


@given(text=st.text(alphabet="ab[]*?^-!.\\", max_size=6))
def test_a_glob_without_wildcards_is_equality(text: str) -> None:
    literal = "".join(f"[{c}]" if c in "*?" else "[[]" if c == "[" else c for c in text)
    if literal and "!" not in literal:
        assert holds({"metadata.x": {"glob": literal}}, replace(FACTS, metadata={"x": text}))


def test_check_reports_where_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:\n  - {id: builtin/extractive}\n")
    (tmp_path / "routing.yaml").write_text(
        "rules:\n"
        "  - {name: fine, conditions: {hour: 3}, model: builtin/extractive}\n"
        "  - name: wrong\n"
        "    conditions:\n"
        "      task_type: 5\n"
        "      any:\n"
        "        - {hour: nine}\n"
        "    model: builtin/extractive\n"
    )
    problems = problems_of(tmp_path, [check_conditions])
    assert [(p.file, p.where, p.line) for p in problems] == [
        ("routing.yaml", "rules[1].conditions.task_type", 5),
        ("routing.yaml", "rules[1].conditions.any[0].hour", 7),
    ]
