"""What a prompt agent says and when it is news: a template with named fields, conditions on an answer. Pure.

Templates are `string.Template`'s: `$topic` and `${topic}` are fields, `$$` is a dollar. Nothing is evaluated, braces
mean nothing, and a field that nobody fills is a mistake and not an empty place. Conditions are those of routing rules,
with the members of the answer in the place of a request's facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Template
from typing import Any, Final

from app.errors import InvalidRequest
from app.routing.conditions import ConditionError, Conditions, compile_conditions
from app.routing.facts import RoutingFacts

MAX_FIELD_CHARACTERS: Final = 20_000
"""Of one field's value in a prompt; what is longer is cut, and says so."""
GROUPS: Final = ("any", "all")


def template_problem(text: str, known: Iterable[str]) -> str:
    """What is wrong with a template whose fields are `known`; empty: nothing."""
    template = Template(text)
    if not template.is_valid():
        return "has a `$` that begins no field; write `$$` for a dollar"
    names = set(known)
    missing = [name for name in template.get_identifiers() if name not in names]
    if missing:
        return f"names the field `{missing[0]}`, which nothing fills; there are: {', '.join(sorted(names))}"
    return ""


def fill(text: str, fields: Mapping[str, str], where: str) -> str:
    """The template with its fields. Raises `InvalidRequest` for one that is not there."""
    template = Template(text)
    for name in template.get_identifiers():
        if name not in fields:
            raise InvalidRequest(f"{where} needs the field `{name}`; give it as input.{name}", field=f"input.{name}")
    return template.substitute({name: _cut(value) for name, value in fields.items()})


def _cut(value: str) -> str:
    if len(value) <= MAX_FIELD_CHARACTERS:
        return value
    return f"{value[:MAX_FIELD_CHARACTERS]}\n[{len(value) - MAX_FIELD_CHARACTERS} characters left out]"


@dataclass(frozen=True, slots=True)
class When:
    """Compiled conditions on an answer."""

    conditions: Conditions

    def holds(self, answer: Mapping[str, Any]) -> bool:
        return self.why_not(answer) is None

    def why_not(self, answer: Mapping[str, Any]) -> str | None:
        """The first condition that fails, as a sentence; None: all hold."""
        facts = RoutingFacts("", "", False, False, 0, metadata=answer)
        failed = self.conditions.first_failure(facts)
        return None if failed is None else failed.replace("metadata.", "")


def compile_when(raw: object) -> When:
    """Conditions on an answer's members: `{urgent: true, score: {gte: 0.8}, any: [...]}`. Raises `ConditionError`."""
    try:
        return When(compile_conditions(_as_metadata(raw)))
    except ConditionError as error:
        problems = [(path.replace("metadata.", ""), words) for path, words in error.problems]
        raise ConditionError(problems) from None


def _as_metadata(raw: object) -> object:
    """The members of an answer stand where a request's metadata does."""
    if not isinstance(raw, Mapping):
        return raw
    found: dict[object, object] = {}
    for key, value in raw.items():
        if key == "not":
            found[key] = _as_metadata(value)
        elif key in GROUPS and isinstance(value, list | tuple):
            found[key] = [_as_metadata(part) for part in value]
        else:
            found[f"metadata.{key}" if isinstance(key, str) else key] = value
    return found
