"""What openapi.json says of every route alike: the door's answers, the problems' media type, events, ids in paths.

FastAPI describes what a route declares. What stands in front of all routes, and what we answer instead of FastAPI, is
added here once, so that a route that is added cannot forget it.
"""

from __future__ import annotations

import re
from typing import Any, Final

PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
DIALECT: Final = {"application/json": {"schema": {"type": "object"}}}
"""Routes under /v1 tell errors as OpenAI or Anthropic does."""
EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    },
}
"""One event of a stream, as its lines say it (OpenAPI 3.2's `itemSchema`; older readers pass it over)."""
DOOR: Final = {
    "400": "`bad_host`: no Host header, or two",
    "401": "`unauthorized`",
    "403": "`origin_not_allowed`, `missing_right`",
    "421": "`misdirected_request`: a Host that is not the sidecar's",
    "503": "`starting`, `storage_unavailable`: ask again a little later",
}
BODY: Final = {
    "400": "`malformed_json`: no JSON, not UTF-8, a key twice, nested too deep",
    "413": "`body_too_large`",
    "415": "`unsupported_media_type`: JSON only",
    "422": "`invalid_request`",
}
STREAMING: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/messages"})


def complete(document: dict[str, Any]) -> None:
    """Fill in, in place, what holds for all operations; what a route declares itself is kept."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _name_parameters(path, operation)
            responses = operation["responses"]
            foreign = path.startswith("/v1/")
            told = BODY | DOOR | {"400": BODY["400"]} if "requestBody" in operation else DOOR
            if path in STREAMING:
                responses["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}}
            for status, description in told.items() if path != "/health" else ():
                responses.setdefault(status, {"description": description})
            for status, response in responses.items():
                _describe_response(status, response, foreign)
            operation["responses"] = dict(sorted(responses.items()))


def _describe_response(status: str, response: dict[str, Any], foreign: bool) -> None:
    content = response.get("content", {})
    if status >= "400" and (not content or "#/components/schemas/Problem" in str(content)):
        response["content"] = DIALECT if foreign else PROBLEM
    if (stream := content.get("text/event-stream")) is not None:
        # Both would be held against each event by tools of OpenAPI 3.1.
        stream.pop("schema", None)
        stream["itemSchema"] = EVENT


def _name_parameters(path: str, operation: dict[str, Any]) -> None:
    """A parameter that takes the rest of the path (`{name:path}`) is declared by nobody."""
    known = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    for name in re.findall(r"{(\w+)}", path):
        if name not in known:
            declared = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            operation.setdefault("parameters", []).append(declared)
