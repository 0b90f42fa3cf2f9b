"""What is wrong with a value by a JSON Schema, in words that repeat nothing of the value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

MAX_SHOWN: Final = 200
"""Characters of a schema's own value in a message."""
_HELD: Final[Registry[Any]] = Registry()
"""What a schema refers to it must hold: nothing is fetched, from whatever address it names."""


def schema_problem(schema: Mapping[str, Any]) -> str:
    """What keeps `schema` from being a JSON Schema (2020-12); empty where it is one."""
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        where = error.json_path.removeprefix("$").removeprefix(".")
        return f"{where}: {error.message[:MAX_SHOWN]}" if where else error.message[:MAX_SHOWN]
    except RecursionError:
        return "it is nested too deep"
    resource = DRAFT202012.create_resource(dict(schema))
    missing = _missing(resource, _HELD.resolver_with_root(resource))
    return f"refers to {missing[:MAX_SHOWN]}, which it does not hold" if missing else ""


def _missing(resource: Resource[Any], resolver: Any) -> str:
    """The first reference that leads out of the schema, or nowhere."""
    if isinstance(resource.contents, Mapping):
        for keyword in ("$ref", "$dynamicRef"):
            reference = resource.contents.get(keyword)
            try:
                if reference is not None:
                    resolver.lookup(reference)
            except Unresolvable:
                return str(reference)
    inner = (_missing(sub, resolver.in_subresource(sub)) for sub in resource.subresources())
    return next(filter(None, inner), "")


def first_problem(value: Any, schema: Mapping[str, Any], root: str = "") -> str:
    """What keeps `value` from fitting the schema, with the path to it; empty where it fits.

    Messages name what is expected and not what was found: they go to logs, problem bodies and models.
    """
    try:
        error = best_match(jsonschema.Draft202012Validator(dict(schema), registry=_HELD).iter_errors(value))
    except RecursionError:
        return "is nested too deep, or its schema refers to itself without end"
    if error is None:
        return ""
    place = root + error.json_path.removeprefix("$")
    place = place.removeprefix(".")
    return f"{place}: {_expected(error)}" if place else _expected(error)


def _expected(error: ValidationError) -> str:
    keyword = str(error.validator)
    wanted: Any = error.validator_value
    if keyword == "type":
        kinds = wanted if isinstance(wanted, list) else [wanted]
        return f"must be {' or '.join(_KINDS.get(str(kind), str(kind)) for kind in kinds)}"
    if keyword == "required":
        missing = [name for name in wanted if isinstance(error.instance, dict) and name not in error.instance]
        return f"`{missing[0] if missing else wanted[0]}` is required"
    if keyword == "additionalProperties":
        known = sorted(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
        return f"holds a key that is not known; known are: {', '.join(known) or 'none'}"
    if keyword == "enum":
        return f"must be one of {_shown(wanted)}"
    template = _LIMITS.get(keyword)
    return template.format(_shown(wanted)) if template else f"must fit {keyword}: {_shown(wanted)}"


def _shown(wanted: Any) -> str:
    text = json.dumps(wanted, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


_KINDS = {
    "object": "an object", "array": "a list", "string": "a string", "integer": "a whole number", "number": "a number",
    "boolean": "true or false", "null": "null",
}  # fmt: skip
_LIMITS = {
    "minimum": "must be at least {}", "maximum": "must be at most {}", "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}", "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters", "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries", "pattern": "must match {}", "format": "must be a {}",
    "const": "must be {}",
}  # fmt: skip
