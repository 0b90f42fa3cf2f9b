"""JSON as it is sent."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = dict[str, Any]
JSON = "application/json"


def dumps(value: Any) -> bytes:
    """JSON as UTF-8 in one line. Half a surrogate pair, which no JSON reader agrees on, becomes U+FFFD."""
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
