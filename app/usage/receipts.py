"""Receipts: what a request was about, for replay and the dashboard. Never a word of its prompt or its answer.

Everything that comes from outside (metadata, reasons) is cut to a length, every list to a number of entries, so that a
receipt stays within a few kilobytes whatever was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, select

from app.context.blocks import ContextWindow
from app.routing.facts import RoutingFacts
from app.routing.route import Route
from app.store.tables import request_receipts
from app.usage.records import Receipt

T = TypeVar("T")

MAX_TEXT = 200
MAX_METADATA = 32
MAX_ENTRIES = 64
MAX_BLOCKS = 128

_FACTS = tuple(field.name for field in fields(RoutingFacts) if field.name != "metadata")


def build_receipt(request_id: str, facts: RoutingFacts, route: Route, context: ContextWindow | None = None) -> Receipt:
    """`context`: the window that was sent last; None where no candidate was fitted."""
    return Receipt(request_id, _facts(facts), _route(route), {} if context is None else _context(context))


def to_json(receipt: Receipt) -> dict[str, Any]:
    """As the API and the command line show it."""
    return {
        "request_id": receipt.request_id,
        "facts": dict(receipt.facts),
        "route": dict(receipt.route),
        "context": dict(receipt.context),
    }


def receipt_in(connection: Connection, request_id: str) -> Receipt | None:
    """The stored receipt, or None."""
    row = connection.execute(select(request_receipts).where(request_receipts.c.request_id == request_id)).one_or_none()
    if row is None:
        return None
    return Receipt(row.request_id, orjson.loads(row.facts), orjson.loads(row.route), orjson.loads(row.context))


def _facts(facts: RoutingFacts) -> dict[str, Any]:
    result: dict[str, Any] = {name: getattr(facts, name) for name in _FACTS}
    result["metadata"] = _metadata(facts.metadata)
    return result


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What conditions can ask about: plain values. Anything nested is left out, anything long is cut."""
    plain = ((name, value) for name, value in metadata.items() if value is None or isinstance(value, _PLAIN))
    return {_short(name): _value(value) for name, value in _first(plain, MAX_METADATA)}


_PLAIN = (str, bool, int, float)
_LARGEST = 2**63


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _short(value)
    # JSON in the database holds 64 bits.
    return str(value)[:MAX_TEXT] if isinstance(value, int) and abs(value) >= _LARGEST else value


def _route(route: Route) -> dict[str, Any]:
    return {
        "rule": route.rule,
        "local_only": route.local_only,
        "candidates": [
            {"model": c.model.id, "origin": c.origin.value, "location": c.model.location.value}
            for c in route.candidates[:MAX_ENTRIES]
        ],
        "removed": [
            {"model": r.model, "origin": r.origin.value, "code": r.code, "reason": _short(r.reason)}
            for r in route.removed[:MAX_ENTRIES]
        ],
        "verdicts": [
            {"rule": v.rule, "matched": v.matched, "failed": None if v.failed is None else _short(v.failed)}
            for v in route.verdicts[:MAX_ENTRIES]
        ],
        "upgrades": [model.id for model in route.upgrades[:MAX_ENTRIES]],
        "summarizer": None if route.summarizer is None else route.summarizer.id,
        "reasons": [_short(reason) for reason in route.reasons[:MAX_ENTRIES]],
    }


def _context(context: ContextWindow) -> dict[str, Any]:
    return {
        "model": context.model,
        "window": context.window,
        "input_tokens": context.input_tokens,
        "reserved_output": context.reserved_output,
        "upgraded_from": context.upgraded_from,
        "blocks": [
            {
                "id": _short(b.id),
                "kind": b.kind,
                "priority": int(b.priority),
                "tokens": b.tokens,
                "outcome": b.outcome.value,
                "reason": _short(b.reason),
            }
            for b in context.blocks[:MAX_BLOCKS]
        ],
        "blocks_left_out": max(0, len(context.blocks) - MAX_BLOCKS),
        "notes": [_short(note) for note in context.notes[:MAX_ENTRIES]],
    }


def _short(text: str) -> str:
    """Cut, and free of what JSON cannot hold (lone surrogates)."""
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode()


def _first(items: Any, number: int) -> Sequence[Any]:
    return [item for item, _ in zip(items, range(number), strict=False)]
