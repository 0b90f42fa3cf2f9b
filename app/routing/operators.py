"""The operators of a condition: `eq ne in not_in lt lte gt gte matches glob exists`, compiled for a kind of value."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import re2

Problem: TypeAlias = tuple[str, str]
"""(key path, what was expected there)."""

MAX_VALUES: Final = 1_000
MAX_PATTERN: Final = 1_000
"""Characters of a regular expression or a glob."""
MAX_PROGRAM: Final = 10_000
"""Instructions RE2 compiles a pattern to: `(x{100}){9}` is short and large."""
MAX_SUBJECT: Final = 10_000
"""Characters of a value that `matches` and `glob` look at; a longer one does not match."""
REGEX_MEMORY: Final = 2 << 20
"""Bytes a compiled pattern and its automaton may take."""

_TASK_TYPE = re.compile(r"[a-z0-9_-]{1,64}")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key's values are: which values may be compared with them, and by which operators."""

    expected: str
    accepts: Callable[[object], bool]
    operators: tuple[str, ...]


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_EQUALITY = ("eq", "ne", "in", "not_in", "exists")
_ORDER = ("lt", "lte", "gt", "gte")
_TEXT = ("matches", "glob")
OPERATORS: Final = (*_EQUALITY, *_ORDER, *_TEXT)

KINDS: Final[Mapping[str, Kind]] = {
    "text": Kind("text", _is_text, (*_EQUALITY, *_TEXT)),
    "task type": Kind(
        "a task type: up to 64 lower-case letters, digits, _ and -",
        lambda v: isinstance(v, str) and _TASK_TYPE.fullmatch(v) is not None,
        (*_EQUALITY, *_TEXT),
    ),
    "boolean": Kind("true or false", lambda v: isinstance(v, bool), _EQUALITY),
    "whole number": Kind("a whole number", _is_whole, (*_EQUALITY, *_ORDER)),
    "hour": Kind(
        "an hour from 0 to 23",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 23,
        (*_EQUALITY, *_ORDER),
    ),
    "number": Kind("a number", _is_number, (*_EQUALITY, *_ORDER)),
    "anything": Kind("text, a number, true or false", lambda v: isinstance(v, str | bool) or _is_number(v), OPERATORS),
}


@dataclass(frozen=True, slots=True)
class Test:
    """`holds` takes the value, None where it is absent; `needs` says what it takes, after the word "needs"."""

    holds: Callable[[Any], bool]
    needs: str


def show(value: object) -> str:
    """A value in a sentence: quoted where it is text, shortened where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > _SHOWN:
        return "a very large number"  # repr refuses thousands of digits
    text = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def compile_operators(raw: object, kind: Kind, path: str, problems: list[Problem]) -> Test | None:
    """The test that `raw` (scalar, list or mapping of operators) asks for. None, and `problems` grows: it is wrong."""
    if isinstance(raw, Mapping):
        return _operators(raw, kind, path, problems)
    if isinstance(raw, list | tuple):
        return _operator("in", raw, kind, path, problems)
    return _operator("eq", raw, kind, path, problems)


def _operators(raw: Mapping[object, object], kind: Kind, path: str, problems: list[Problem]) -> Test | None:
    if not raw:
        problems.append((path, f"expected {kind.expected}, a list, or a mapping of operators"))
        return None
    tests: list[Test] = []
    for name, value in raw.items():
        if not isinstance(name, str) or name not in kind.operators:
            problems.append((f"{path}.{name if isinstance(name, str) else show(name)}", _no_operator(name, kind)))
            continue
        test = _operator(name, value, kind, f"{path}.{name}", problems)
        if test is not None:
            tests.append(test)
    return _both(tests) if len(tests) == len(raw) else None


def _no_operator(name: object, kind: Kind) -> str:
    known = ", ".join(kind.operators)
    if name in OPERATORS:
        return f"this operator does not fit {kind.expected}; those that do are {known}"
    close = difflib.get_close_matches(str(name).lower()[:50], kind.operators, 1, 0.6)
    return f"unknown operator; did you mean `{close[0]}`?" if close else f"unknown operator; known are {known}"


def _both(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    holds = tuple(test.holds for test in tests)
    return Test(lambda value: all(each(value) for each in holds), " and ".join(test.needs for test in tests))


def _operator(name: str, value: object, kind: Kind, path: str, problems: list[Problem]) -> Test | None:
    if name == "exists":
        return _exists(value, path, problems)
    if name in ("in", "not_in"):
        return _membership(name, value, kind, path, problems)
    if name in _TEXT:
        return _pattern(name, value, path, problems)
    if name in _ORDER:
        # Under `metadata.*` anything may stand, but only numbers have an order.
        if not (kind.accepts(value) and _is_number(value)):
            expected = kind.expected if kind is not KINDS["anything"] else "a number"
            problems.append((path, f"expected {expected}, found {_kind_of(value)}"))
            return None
        return _order(name, value)
    if not kind.accepts(value):
        problems.append((path, _wrong_value(value, kind)))
        return None
    return _equality(name, value)


def _wrong_value(value: object, kind: Kind) -> str:
    if value is None:
        return f"expected {kind.expected}, found nothing; to ask whether a value is there write {{exists: false}}"
    return f"expected {kind.expected}, found {_kind_of(value)}"


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return f"the text {show(value)}"
    if isinstance(value, int | float):
        return f"the number {show(value)}"
    kinds: tuple[tuple[type, str], ...] = ((list, "a list"), (dict, "a mapping"), (type(None), "nothing"))
    return next((text for kind, text in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


def _key(value: object) -> tuple[bool, object]:
    """What equality compares: 1 equals 1.0 and never true."""
    return isinstance(value, bool), value


_SCALARS = (str, int, float)


def _equality(name: str, wanted: object) -> Test:
    key = _key(wanted)
    if name == "ne":
        return Test(lambda v: v is not None and _key(v) != key, f"anything but {show(wanted)}")
    if isinstance(wanted, bool):
        return Test(lambda v: v is wanted, show(wanted))
    if isinstance(wanted, str):
        return Test(lambda v: v == wanted, show(wanted))
    return Test(lambda v: v == wanted and not isinstance(v, bool), show(wanted))


def _membership(name: str, value: object, kind: Kind, path: str, problems: list[Problem]) -> Test | None:
    if not isinstance(value, list | tuple) or not value:
        problems.append((path, f"expected a list of at least one value, each {kind.expected}"))
        return None
    if len(value) > MAX_VALUES:
        problems.append((path, f"a list may hold {MAX_VALUES:,} values at most, found {len(value):,}"))
        return None
    wrong = [(f"{path}[{i}]", _wrong_value(each, kind)) for i, each in enumerate(value) if not kind.accepts(each)]
    if wrong:
        problems += wrong
        return None
    shown = ", ".join(map(_plain, value[:12])) + (", …" if len(value) > 12 else "")
    if name == "not_in":
        keys = frozenset(map(_key, value))
        return Test(lambda v: v is not None and not (isinstance(v, _SCALARS) and _key(v) in keys), f"none of {shown}")
    needs = f"one of {shown}" if len(value) > 1 else show(value[0])
    if all(isinstance(each, str) for each in value):
        words = frozenset(value)
        return Test(lambda v: isinstance(v, str) and v in words, needs)
    keys = frozenset(map(_key, value))
    return Test(lambda v: isinstance(v, _SCALARS) and _key(v) in keys, needs)


def _plain(value: object) -> str:
    return value if isinstance(value, str) and value and len(value) <= _SHOWN else show(value)


def _exists(value: object, path: str, problems: list[Problem]) -> Test | None:
    if not isinstance(value, bool):
        problems.append((path, f"expected true or false, found {_kind_of(value)}"))
        return None
    if value:
        return Test(lambda v: v is not None, "a value")
    return Test(lambda v: v is None, "no value")


def _order(name: str, limit: Any) -> Test:
    tests: Mapping[str, tuple[Callable[[Any], bool], str]] = {
        "lt": (lambda v: v < limit, "less than"),
        "lte": (lambda v: v <= limit, "at most"),
        "gt": (lambda v: v > limit, "more than"),
        "gte": (lambda v: v >= limit, "at least"),
    }
    compare, words = tests[name]

    def holds(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and compare(value)

    return Test(holds, f"{words} {show(limit)}")


def _pattern(name: str, value: object, path: str, problems: list[Problem]) -> Test | None:
    if not isinstance(value, str) or not value:
        problems.append((path, f"expected a {'regular expression' if name == 'matches' else 'glob'} as text"))
        return None
    if len(value) > MAX_PATTERN:
        problems.append((path, f"may have {MAX_PATTERN:,} characters at most, found {len(value):,}"))
        return None
    try:
        found = _compile(value if name == "matches" else glob_to_regex(value))
    except ValueError as error:
        problems.append((path, str(error)))
        return None

    def holds(subject: Any) -> bool:
        # A lone surrogate, which JSON can carry, has no UTF-8 form: RE2 sees a question mark.
        if not isinstance(subject, str) or len(subject) > MAX_SUBJECT:
            return False
        return found.search(subject.encode("utf-8", "replace")) is not None

    return Test(holds, f"a match of {show(value)}")


def _compile(pattern: str) -> Any:
    """The RE2 program. Raises `ValueError` with a sentence where it is no regular expression, or too large a one."""
    options = re2.Options()
    options.max_mem = REGEX_MEMORY
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"is not a regular expression RE2 understands: {text[:200]}") from None
    except UnicodeEncodeError:
        raise ValueError("is not a regular expression: it holds half a character") from None
    if compiled.programsize > MAX_PROGRAM:
        raise ValueError(f"the pattern is too large: {compiled.programsize:,} instructions, {MAX_PROGRAM:,} at most")
    return compiled


def glob_to_regex(glob: str) -> str:
    """`*` any characters, `?` one, `[abc]`, `[a-z]` and `[!…]` one of or none of; the whole value must match."""
    out, i = [], 0
    while i < len(glob):
        char = glob[i]
        i += 1
        if char == "[" and (end := glob.find("]", i + (2 if glob[i : i + 1] == "!" else 1))) != -1:
            body = glob[i:end]
            negated = body.startswith("!")
            inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", body[1:] if negated else body)
            out.append(f"[{'^' if negated else ''}{inner}]")
            i = end + 1
        else:
            out.append({"*": ".*", "?": "."}.get(char, re2.escape(char)))
    return rf"(?s)\A{''.join(out)}\z"
