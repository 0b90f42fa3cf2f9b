"""JSON as RFC 8259 and nothing beyond: no duplicate keys, no NaN, no number that does not fit, no half characters."""

from __future__ import annotations

import json
import math
from typing import Any

from app.errors import InvalidRequest

MAX_DEPTH = 64
"""orjson cannot write more than 254 levels, and nothing sensible has more than a dozen."""

_INT64 = range(-(2**63), 2**63)
_MAX_DIGITS = 20


def parse_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises `InvalidRequest`: 400 where it is not JSON (or not UTF-8, or ambiguous, or too deep), 422 where it is JSON
    that cannot be kept unharmed (a number beyond 64 bits, half a surrogate pair, NUL).
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("it must be UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"line {error.lineno} column {error.colno}: {error.msg.lower()}") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    if b"\\u" in body and (b"\\ud" in body or b"\\uD" in body or b"\\u0000" in body):
        _refuse_half_characters(value)
    return value


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid JSON: {reason}.", status=400, code="malformed_json")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("an object has the same key twice")
    return found


def _constant(name: str) -> Any:
    raise _malformed(f"{name} is not a number")


def _integer(digits: str) -> int:
    # Counted before it is read: Python refuses 5,000 digits with an error of its own.
    if len(digits) > _MAX_DIGITS or (value := int(digits)) not in _INT64:
        raise InvalidRequest("A whole number in the body does not fit in 64 bits.")
    return value


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidRequest("A number in the body is too large for a 64-bit float.")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_number, strict=True
)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, (dict, list))]
        if not level:
            return
    raise _malformed(f"it is nested deeper than {MAX_DEPTH} levels")


def _refuse_half_characters(value: Any) -> None:
    """JSON can spell half a surrogate pair and NUL; neither survives a database, a file or another program."""
    left = [value]
    while left:
        one = left.pop()
        texts = list(one) if isinstance(one, dict) else [one] if isinstance(one, str) else []
        if any("\0" in text or not _encodable(text) for text in texts):
            raise InvalidRequest(
                "A string in the body holds NUL or half a surrogate pair (an unpaired \\ud800-\\udfff)."
            )
        left.extend(_children(one))


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
