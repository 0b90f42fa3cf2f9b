"""Rules: firewall order, verdicts, failing closed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.schema import Rule
from app.errors import ConfigError, NoRule
from app.routing.facts import RoutingFacts, RuleVerdict
from app.routing.rules import RuleSet, compile_rules

FACTS = RoutingFacts("chat", "home", contains_code=False, block_cloud_apis=False, input_tokens=10, hour=9)


def rule(name: str, conditions: dict[str, Any], model: str = "builtin/extractive") -> Rule:
    return Rule(name=name, conditions=conditions, model=model)


def test_the_first_match_wins_and_is_all_that_is_reported() -> None:
    rules = RuleSet([rule("a", {"hour": 8}), rule("b", {"hour": 9}), rule("c", {})])
    match = rules.first_match(FACTS)
    assert match.rule is not None
    assert match.rule.name == "b"
    assert match.verdicts == (RuleVerdict("b", True),)


def test_all_verdicts_include_rules_after_the_match() -> None:
    rules = RuleSet([rule("a", {"hour": 8}), rule("b", {}), rule("c", {"workspace": "work"}), rule("d", {})])
    match = rules.first_match(FACTS, all_verdicts=True)
    assert match.rule is not None
    assert match.rule.name == "b"
    assert match.verdicts == (
        RuleVerdict("a", False, "hour is 9, needs 8"),
        RuleVerdict("b", True),
        RuleVerdict("c", False, "workspace is 'home', needs 'work'"),
        RuleVerdict("d", True),
    )


def test_no_rule_matches() -> None:
    rules = RuleSet([rule("a", {"hour": 8})])
    assert rules.first_match(FACTS).rule is None
    assert rules.first_match(FACTS, all_verdicts=True).verdicts == (RuleVerdict("a", False, "hour is 9, needs 8"),)
    assert RuleSet([]).first_match(FACTS).rule is None


def test_every_wrong_rule_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_rules([rule("a", {"hour": "x"}), rule("b", {}), rule("c", {"nope": 1})])
    assert [p.where for p in caught.value.problems] == ["rules[0].conditions.hour", "rules[2].conditions.nope"]


def test_the_chain_is_the_model_and_its_fallbacks() -> None:
    rules = RuleSet([Rule(name="a", conditions={}, model="gpt-4o", fallback=("ollama/x", "builtin/extractive"))])
    assert rules.rules[0].chain == ("gpt-4o", "ollama/x", "builtin/extractive")
    assert len(rules) == 1


class Trap(dict[str, Any]):
    """Metadata no JSON can make: asking it fails."""

    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError(key)


def test_a_rule_that_cannot_be_evaluated_refuses_the_request() -> None:
    facts = RoutingFacts("chat", "home", False, False, 1, metadata=Trap())
    rules = RuleSet([rule("a", {"hour": 3}), rule("broken", {"metadata.x": "y"}), rule("public", {}, "gpt-4o")])
    with pytest.raises(NoRule, match="broken"):
        rules.first_match(facts)


conditions = st.sampled_from(
    [{}, {"hour": 9}, {"hour": 8}, {"workspace": "home"}, {"contains_code": True}, {"not": {"task_type": "chat"}}]
)


@given(st.lists(conditions, max_size=12))
def test_firewall_order(chosen: list[dict[str, Any]]) -> None:
    """The match is the first rule that would match alone, and rules behind it change nothing."""
    rules = [rule(f"r{i}", each) for i, each in enumerate(chosen)]
    alone = [RuleSet([each]).first_match(FACTS).rule is not None for each in rules]
    match = RuleSet(rules).first_match(FACTS)
    expected = next((f"r{i}" for i, matched in enumerate(alone) if matched), None)
    assert (match.rule.name if match.rule else None) == expected
    assert [v.matched for v in RuleSet(rules).verdicts(FACTS)] == alone
