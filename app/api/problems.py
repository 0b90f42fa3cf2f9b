"""Errors as RFC 9457 problem bodies (`application/problem+json`). Nothing a client sent is ever echoed in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import Response
from starlette.types import Scope

from app.config.redact import redact_patterns
from app.errors import InvalidRequest, SidecarError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:llm-sidecar:problem:"
"""`type` is a URI that identifies the code; it need not lead anywhere (RFC 9457, 3.1.1)."""

MAX_LISTED = 20
"""Wrong fields named in one body; a thousand would tell no more."""


class Unexpected(SidecarError):
    """A fault of this program: its text stays in the log."""

    def __init__(self) -> None:
        super().__init__("Something went wrong inside the sidecar; its log says what.")


def problem_body(error: SidecarError, request_id: str, **extra: object) -> dict[str, object]:
    """The members of a problem body; `extra` and the error's own extra members come last and never replace them."""
    body: dict[str, object] = {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "detail": redact_patterns(error.detail),
        "code": error.code,
        "request_id": request_id,
    }
    return {**error.extra, **extra, **body}


def problem_response(error: SidecarError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The error as a whole answer. A `retry_after` of the error also becomes the header."""
    sent = {"cache-control": "no-store", **(headers or {})}
    if (retry_after := error.extra.get("retry_after")) is not None:
        sent["retry-after"] = str(retry_after)
    if error.status == 401:
        sent["www-authenticate"] = 'Bearer realm="llm-sidecar"'
    content = orjson.dumps(problem_body(error, request_id), default=str)
    return Response(content, error.status, sent, media_type=MEDIA_TYPE)


def request_id_of(scope: Scope) -> str:
    """The id the door gave this request."""
    state: Mapping[str, Any] = scope.get("state", {})
    return str(state.get("request_id", ""))


def invalid_fields(errors: Iterable[ErrorDetails], where: str = "") -> InvalidRequest:
    """pydantic's findings as a 422 that names each field and what was expected there, and repeats no input."""
    listed = _by_field(errors, where)
    shown = listed[:MAX_LISTED]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in shown[:3])
    more = f" (and {len(listed) - 3} more)" if len(listed) > 3 else ""
    return InvalidRequest(detail + more, errors=shown)


def from_validation(error: ValidationError, where: str = "") -> InvalidRequest:
    """A `ValidationError` as the 422 it means."""
    return invalid_fields(error.errors(include_url=False, include_context=True, include_input=False), where)


def _by_field(errors: Iterable[ErrorDetails], where: str) -> list[dict[str, str]]:
    """One entry a field. Where a value may be one of several kinds, pydantic reports each that it is not: what the
    kind that fits best lacks is said, else all the kinds."""
    found: dict[str, dict[str, None]] = {}
    for error in errors:
        path = field_path(_without_kinds(error), where)
        found.setdefault(path, {})[_expected(error)] = None
    above = {path[: mark.start()] for path in found for mark in re.finditer(r"[.\[]", path)}
    return [{"field": path, "message": ", or ".join(said)} for path, said in found.items() if path not in above]


def _without_kinds(error: ErrorDetails) -> Sequence[int | str]:
    """Where the error is, without the kinds a union tried there (`str`, `list[Part]`, `NamedTool`): no field of ours
    is called so, but a client's unknown one may be."""
    *path, last = error["loc"] or ("",)
    kept = [step for step in path if isinstance(step, int) or not _KIND.match(step)]
    if last == "" or (isinstance(last, str) and error["type"] != "extra_forbidden" and _KIND.match(last)):
        return kept
    return [*kept, last]


_KIND = re.compile(r"[A-Z]|[a-z-]+\[|(?:constrained-)?(?:str|int|float|bool|none)\Z")


def field_path(loc: Sequence[int | str], where: str = "") -> str:
    """`("context", "chunks", 0, "text")` as `context.chunks[0].text`; `body` where the whole body is meant."""
    path = where
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step if len(step) <= 64 and step.isprintable() else "(a key)"
            path += f".{redact_patterns(name)}" if path else redact_patterns(name)
    return path or "body"


_PLAINER = {
    "extra_forbidden": "is not a known field",
    "missing": "is required",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a JSON array",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
}


def _expected(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        # Raised by our own validators; their text is ours.
        return str(error.get("ctx", {}).get("error", error["msg"]))
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        # pydantic's own words repeat the tag that was sent.
        context = error.get("ctx", {})
        known = f" {context['expected_tags']}" if "expected_tags" in context else " what kind it is"
        return f"{str(context.get('discriminator', 'type')).strip(chr(39))} must say{known}"
    return _PLAINER.get(error["type"]) or error["msg"].replace("Input should", "should", 1)
