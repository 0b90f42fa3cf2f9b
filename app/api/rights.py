"""Which right each route needs. What is not listed here needs `admin`, and is closed to keys bound to a workspace.

    door ── who? ── Caller ── allow(caller, method, path) ──> the route
                                     403 missing_right

A route belongs in the table once it acts in the caller's workspace and in no other: it takes the workspace from
`Caller.workspace_for`, or has no workspace at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.api.callers import Caller
from app.errors import Forbidden, NothingThere
from app.store.client_key import Right


@dataclass(frozen=True, slots=True)
class Grant:
    """`path` is matched whole, on the path that is routed by."""

    methods: frozenset[str]
    path: re.Pattern[str]
    right: Right


def _grants(right: Right, *routes: str) -> Iterable[Grant]:
    for route in routes:
        methods, _, path = route.partition(" ")
        yield Grant(frozenset(methods.split(",")), re.compile(path), right)


GRANTS: Final[tuple[Grant, ...]] = (
    *_grants(
        "chat",
        "POST /api/v1/(?:chat|explain|search|chunks)",
        "GET /api/v1/chat/[^/]+/events",
        "DELETE /api/v1/chat/[^/]+",
        "POST /v1/(?:chat/completions|completions|embeddings|messages|messages/count_tokens)",
        "GET /v1/models(?:/.+)?",
        "GET /api/v1/models",
        "GET,POST /api/v1/entities",
        "GET,DELETE /api/v1/entities/.+",
        "GET,POST /api/v1/sessions",
        "GET,POST,PUT,DELETE /api/v1/sessions/.+",
    ),
    *_grants(
        "usage",
        "GET /api/v1/usage(?:/(?:records|summary|export))?",
        "GET /api/v1/requests/[^/]+",
        "GET /api/v1/budgets",
        "POST /api/v1/explain/replay",
    ),
    *_grants("chat", "POST /api/v1/requests/[^/]+/feedback"),
)


def allow(caller: Caller, method: str, path: str) -> None:
    """Raises `Forbidden` where the caller may not use the route, `NotFound` where a client of other people's APIs looks
    for one that is not spoken here: every one that is stands in the table."""
    if "admin" in caller.rights and caller.workspace is None:
        return
    asked = "GET" if method == "HEAD" else method
    grant = next((g for g in GRANTS if asked in g.methods and g.path.fullmatch(path)), None)
    if grant is None and path.startswith("/v1/"):
        raise NothingThere(path)
    if grant is None and caller.workspace is not None:
        raise Forbidden(
            f"The key `{caller.name}` is bound to workspace `{caller.workspace}`, and this route reaches beyond one.",
            code="missing_right",
        )
    needed: Right = "admin" if grant is None else grant.right
    if needed not in caller.rights and "admin" not in caller.rights:
        raise Forbidden(
            f"The key `{caller.name}` does not have the right `{needed}` that this route needs.",
            code="missing_right",
            right=needed,
        )
