"""A rule's `conditions`, compiled once into plain functions.

Every key must hold. A scalar is equality, a list membership, a mapping operators that must all hold; `any`, `all` and
`not` nest. Nothing is ever evaluated as code, and `matches` and `glob` run on RE2, in linear time.

An absent key (no agent, no such metadata, null) fails every operator but `exists: false`, `ne` and `not_in` included:
whoever wants "absent or different" says so with `any`. Types are strict: true is not 1 and "1" is not 1.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from app.config.loader import Config
from app.errors import ConfigProblem
from app.routing.facts import RoutingFacts
from app.routing.operators import KINDS, Kind, Problem, compile_operators, show

MAX_DEPTH: Final = 16
"""Of `any`, `all` and `not` inside one another."""
MAX_CONDITIONS: Final = 1_000
"""In one rule, nested ones counted: bounds what YAML aliases can multiply."""

FIELDS: Final[Mapping[str, Kind]] = {
    "task_type": KINDS["task type"],
    "workspace": KINDS["text"],
    "contains_code": KINDS["boolean"],
    "block_cloud_apis": KINDS["boolean"],
    "input_tokens": KINDS["whole number"],
    "has_images": KINDS["boolean"],
    "has_tools": KINDS["boolean"],
    "session_private": KINDS["boolean"],
    "agent": KINDS["text"],
    "hour": KINDS["hour"],
    "budget_used": KINDS["number"],
}
"""The keys, beside `metadata.<path>`; each is the `RoutingFacts` attribute of the same name."""
GROUPS: Final = ("any", "all", "not")
_METADATA_PATH = re.compile(r"metadata(?:\.[^.\s]{1,128}){1,16}")

Holds: TypeAlias = Callable[[RoutingFacts], bool]
Explains: TypeAlias = Callable[[RoutingFacts], str]


class ConditionError(ValueError):
    """Conditions that cannot be compiled. `path` and `expected` are those of the first of `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        self.path, self.expected = self.problems[0]
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in self.problems))


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: whether it holds, and, asked only where it does not, why not in words."""

    holds: Holds
    why_not: Explains


@dataclass(frozen=True, slots=True)
class Conditions:
    """All conditions of a rule, in the order of the file."""

    parts: tuple[Condition, ...]

    def hold(self, facts: RoutingFacts) -> bool:
        """True where every condition holds; no text is made."""
        return all(part.holds(facts) for part in self.parts)

    def first_failure(self, facts: RoutingFacts) -> str | None:
        """The first condition that does not hold, with both sides; None where all hold."""
        return next((part.why_not(facts) for part in self.parts if not part.holds(facts)), None)

    def evaluate(self, facts: RoutingFacts) -> tuple[bool, str | None]:
        """(whether all hold, the first that does not)."""
        failed = self.first_failure(facts)
        return failed is None, failed


def compile_conditions(raw: object) -> Conditions:
    """The conditions of a rule. Raises `ConditionError` with everything that is wrong, by key path."""
    compiler = _Compiler()
    conditions = compiler.mapping(raw, "", 0)
    if compiler.problems:
        raise ConditionError(compiler.problems)
    return conditions


def check_conditions(config: Config) -> Iterable[ConfigProblem]:
    """Every wrong condition of routing.yaml: a check for `app.config.loader.load`."""
    for index, rule in enumerate(config.routing.rules):
        try:
            compile_conditions(rule.conditions)
        except ConditionError as error:
            for path, message in error.problems:
                where = f"rules[{index}].conditions" + (f".{path}" if path else "")
                yield ConfigProblem("routing.yaml", where, message)


class _Compiler:
    """Goes through the whole of one `conditions` value and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._count = 0
        self._full = False

    def mapping(self, raw: object, path: str, depth: int) -> Conditions:
        if not isinstance(raw, Mapping):
            return self._wrong(path, "expected a mapping of conditions")
        if depth > MAX_DEPTH:
            return self._wrong(path, f"any, all and not may be nested {MAX_DEPTH} deep at most")
        self._count += max(1, len(raw))
        if self._count > MAX_CONDITIONS:
            return self._too_many(path)
        parts = []
        for key, value in raw.items():
            condition = self._entry(key, value, path, depth)
            if condition is not None:
                parts.append(condition)
        return Conditions(tuple(parts))

    def _too_many(self, path: str) -> Conditions:
        if not self._full:
            self._full = True
            self._wrong(path, f"a rule may have {MAX_CONDITIONS:,} conditions at most, nested ones counted")
        return Conditions(())

    def _wrong(self, path: str, message: str) -> Conditions:
        self.problems.append((path, message))
        return Conditions(())

    def _entry(self, key: object, value: object, path: str, depth: int) -> Condition | None:
        where = f"{path}.{show(key)}" if path else show(key)
        if not isinstance(key, str):
            self._wrong(where, "a condition's key must be text; quote it if it reads as something else in YAML")
            return None
        where = f"{path}.{key}" if path else key
        if key == "not":
            return _negation(self.mapping(value, where, depth + 1))
        if key in GROUPS:
            return self._group(key, value, where, depth)
        return self._leaf(key, value, where)

    def _group(self, key: str, value: object, where: str, depth: int) -> Condition | None:
        if not isinstance(value, list | tuple) or not value:
            self._wrong(where, "expected a list of at least one mapping of conditions")
            return None
        parts = tuple(self.mapping(part, f"{where}[{index}]", depth + 1) for index, part in enumerate(value))
        return _any(parts) if key == "any" else _all(parts)

    def _leaf(self, key: str, value: object, where: str) -> Condition | None:
        kind = FIELDS.get(key)
        if kind is None:
            if not _METADATA_PATH.fullmatch(key):
                self._wrong(where, _unknown_key(key))
                return None
            kind = KINDS["anything"]
        found: list[Problem] = []
        test = compile_operators(value, kind, where, found)
        if found or test is None:
            self.problems += found
            return None
        return _leaf(key, _getter(key), test.holds, test.needs)


def _leaf(key: str, get: Callable[[RoutingFacts], Any], accepts: Callable[[Any], bool], needs: str) -> Condition:
    def holds(facts: RoutingFacts) -> bool:
        return accepts(get(facts))

    def why_not(facts: RoutingFacts) -> str:
        value = get(facts)
        return f"{key} is {'absent' if value is None else show(value)}, needs {needs}"

    return Condition(holds, why_not)


def _any(parts: tuple[Conditions, ...]) -> Condition:
    def holds(facts: RoutingFacts) -> bool:
        return any(part.hold(facts) for part in parts)

    def why_not(facts: RoutingFacts) -> str:
        return "none of `any` holds: " + "; ".join(part.first_failure(facts) or "" for part in parts)

    return Condition(holds, why_not)


def _all(parts: tuple[Conditions, ...]) -> Condition:
    def holds(facts: RoutingFacts) -> bool:
        return all(part.hold(facts) for part in parts)

    def why_not(facts: RoutingFacts) -> str:
        return next((failed for part in parts if (failed := part.first_failure(facts))), "")

    return Condition(holds, why_not)


def _negation(conditions: Conditions) -> Condition:
    def holds(facts: RoutingFacts) -> bool:
        return not conditions.hold(facts)

    return Condition(holds, lambda _: "what stands under `not` holds")


def _getter(key: str) -> Callable[[RoutingFacts], Any]:
    if key in FIELDS:
        return lambda facts: getattr(facts, key)
    steps = key.split(".")[1:]

    def get(facts: RoutingFacts) -> Any:
        value: Any = facts.metadata
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value

    return get


def _unknown_key(key: str) -> str:
    if key == "metadata" or key.startswith("metadata."):
        return "expected metadata.<name>, and further names for nested values: metadata.editor.language"
    known = [*FIELDS, *GROUPS]
    close = difflib.get_close_matches(key.lower()[:100], known, 1, 0.6)
    return (
        f"unknown key; did you mean `{close[0]}`?"
        if close
        else f"unknown key; known are {', '.join(known)}, metadata.*"
    )
