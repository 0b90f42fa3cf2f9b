"""Rules compiled once, decided in order, first match wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.config.schema import Rule
from app.errors import ConfigError, ConfigProblem, NoRule
from app.routing.conditions import ConditionError, Conditions, compile_conditions
from app.routing.facts import RoutingFacts, RuleVerdict


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its conditions as functions, and the models it names: `model`, then its fallbacks."""

    rule: Rule
    conditions: Conditions
    chain: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.rule.name


@dataclass(frozen=True, slots=True)
class Match:
    """`rule` None: none matched. `verdicts`: every rule's where asked for, else the matching rule's alone."""

    rule: CompiledRule | None
    verdicts: tuple[RuleVerdict, ...]


class RuleSet:
    """The rules of routing.yaml, in order. Immutable; decides without any I/O."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Raises `ConfigError` with every condition that is wrong."""
        compiled: list[CompiledRule] = []
        problems: list[ConfigProblem] = []
        for index, rule in enumerate(rules):
            try:
                conditions = compile_conditions(rule.conditions)
            except ConditionError as error:
                where = f"rules[{index}].conditions"
                problems += [
                    ConfigProblem("routing.yaml", f"{where}.{path}" if path else where, message)
                    for path, message in error.problems
                ]
                continue
            compiled.append(CompiledRule(rule, conditions, (rule.model, *rule.fallback)))
        if problems:
            raise ConfigError(problems)
        self.rules = tuple(compiled)
        # The hot path asks bare functions: a rule and the tests that must all hold.
        self._tests = tuple((rule, tuple(part.holds for part in rule.conditions.parts)) for rule in self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def first_match(self, facts: RoutingFacts, all_verdicts: bool = False) -> Match:
        """The first rule whose conditions all hold. `all_verdicts`: also say what every rule, later ones too, says.

        Raises `NoRule` where a rule cannot be evaluated: a request is refused rather than routed past a broken rule.
        """
        rule = None
        try:
            for rule, tests in self._tests:
                for holds in tests:
                    if not holds(facts):
                        break
                else:
                    verdicts = self.verdicts(facts) if all_verdicts else (RuleVerdict(rule.name, True),)
                    return Match(rule, verdicts)
            return Match(None, self.verdicts(facts) if all_verdicts else ())
        except Exception as error:
            name = rule.name if rule else ""
            raise NoRule(f"rule `{name}` could not be evaluated ({type(error).__name__}); nothing was sent") from error

    def named(self, name: str, facts: RoutingFacts, all_verdicts: bool = False) -> Match:
        """The rule of that name, whatever its conditions; `rule` None where there is none."""
        rule = next((rule for rule in self.rules if rule.name == name), None)
        return Match(rule, self.verdicts(facts) if all_verdicts else ())

    def verdicts(self, facts: RoutingFacts) -> tuple[RuleVerdict, ...]:
        """What every rule says about the facts, in order, whichever came first."""
        return tuple(_verdict(rule, facts) for rule in self.rules)


def _verdict(rule: CompiledRule, facts: RoutingFacts) -> RuleVerdict:
    failed = rule.conditions.first_failure(facts)
    return RuleVerdict(rule.name, failed is None, failed)


def compile_rules(rules: Iterable[Rule]) -> RuleSet:
    """The rules of `config.routing.rules`. Raises `ConfigError` with every condition that is wrong."""
    return RuleSet(rules)
