"""pydantic's errors as problems a person can act on: file, line, key, what was expected. Values are never shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from app.config.schema import Entry
from app.config.yamlfile import KeyPath, YamlFile, show_path
from app.errors import ConfigProblem

_LONGEST_KEY = 60

_EXPECTED = {
    "missing": "this key is required",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "string_type": "expected a text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}
_SAYS_WHAT_IT_FOUND = frozenset(kind for kind in _EXPECTED if kind.endswith("_type"))
_PATTERNS = {
    r"^[A-Za-z0-9_.:-]+$": "may hold letters, digits and _ . : - only",
    r"^[a-z0-9_-]{1,64}$": "may hold up to 64 lower-case letters, digits, _ and - only",
}
_KEY_IN_FILE = frozenset({"api_key", "apikey", "key", "token", "secret"})


def schema_problems(kind: type[Entry], file: YamlFile, error: ValidationError) -> list[ConfigProblem]:
    """One problem per error of validating `file` as `kind`."""
    found = []
    for item in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in item["loc"] if part != "[key]")
        message = _message(kind, file.data, path, item["type"], item["msg"], item.get("ctx", {}))
        shown = show_path(tuple(p[:_LONGEST_KEY] if isinstance(p, str) else p for p in path))
        found.append(ConfigProblem(file.name, shown, message, file.line_of(path)))
    return found


def _message(kind: type[Entry], data: object, path: KeyPath, code: str, text: str, context: Mapping[str, Any]) -> str:
    if code == "extra_forbidden":
        return _unknown_key(kind, path)
    if code == "string_pattern_mismatch":
        return _PATTERNS.get(str(context.get("pattern")), "may not hold spaces or control characters")
    if code == "value_error":
        return text.removeprefix("Value error, ")
    if code not in _EXPECTED:
        return _as_sentence(text)
    expected = _EXPECTED[code]
    return f"{expected}, found {_kind_of(data, path)}" if code in _SAYS_WHAT_IT_FOUND else expected


def _as_sentence(text: str) -> str:
    """pydantic's own words, in this program's voice: `Input should be …` -> `must be …`."""
    for theirs in ("Input should ", "String should ", "Tuple should ", "List should "):
        if text.startswith(theirs):
            return "must " + text.removeprefix(theirs)
    return text[:1].lower() + text[1:]


def _unknown_key(kind: type[Entry], path: KeyPath) -> str:
    key = str(path[-1])
    entry = _entry_at(kind, path[:-1])
    known = sorted(entry.model_fields) if entry else []
    if key.lower() in _KEY_IN_FILE and "api_key_env" in known:
        return (
            "keys do not belong into this file; put the key into the environment or the system keyring and its name "
            "into `api_key_env`"
        )
    close = difflib.get_close_matches(key.lower(), known, 1, 0.6)
    if close:
        return f"unknown key; did you mean `{close[0]}`?"
    return f"unknown key; known are {', '.join(known)}" if known else "unknown key"


def _entry_at(kind: type[Entry], path: KeyPath) -> type[Entry] | None:
    """The schema of the object at `path`: list positions and a mapping's own keys lead to the same entry."""
    entry: type[Entry] | None = kind
    for part in path:
        if entry is None:
            return None
        if isinstance(part, str) and part in entry.model_fields:
            entry = _entry_in(entry.model_fields[part].annotation)
    return entry


def _entry_in(annotation: object) -> type[Entry] | None:
    if isinstance(annotation, type) and issubclass(annotation, Entry):
        return annotation
    return next((entry for arg in get_args(annotation) if (entry := _entry_in(arg))), None)


def _kind_of(data: object, path: KeyPath) -> str:
    """What stands at `path`, by its kind."""
    for part in path:
        if isinstance(data, dict) or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data.get(part) if isinstance(data, dict) else data[int(part)]
        else:
            return "something else"
    if data is None:
        return "nothing"
    if isinstance(data, bool):
        return "true or false"
    kinds: dict[type, str] = {dict: "a mapping", list: "a list", str: "a text", int: "a number", float: "a number"}
    return kinds.get(type(data), "something else")
