"""Events as the JSON the contract promises: the same words in an event's `data` and with `stream: false`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from app.api.json_text import Json
from app.api.problems import problem_body
from app.context.blocks import ContextWindow
from app.llm.calls import ReasoningDelta, TextDelta, ToolCallDelta
from app.llm.events import AttemptFailed, AttemptReport, ContextBuilt, Done, Event, Failed, RouteChosen
from app.memory.progress import Progress
from app.routing.route import Route


def route_data(request_id: str, route: Route) -> Json:
    first = route.candidates[0].model
    return {
        "request_id": request_id,
        "rule": route.rule,
        "model": first.id,
        "location": first.location.value,
        "candidates": [candidate.model.id for candidate in route.candidates],
        "reasons": list(route.reasons),
    }


def context_data(window: ContextWindow) -> Json:
    notes: Json = {"notes": list(window.notes)} if window.notes else {}
    return {
        "model": window.model,
        "window": window.window,
        "input_tokens": window.input_tokens,
        "reserved_output": window.reserved_output,
        "upgraded_from": window.upgraded_from,
        "blocks": [
            {
                "id": block.id,
                "kind": block.kind,
                "priority": int(block.priority),
                "tokens": block.tokens,
                "outcome": block.outcome.value,
                "reason": block.reason,
            }
            for block in window.blocks
        ],
        **notes,
    }


def attempt_data(event: AttemptFailed) -> Json:
    return {
        "model": event.model,
        "number": event.number,
        "outcome": event.outcome,
        "code": event.code,
        "reason": event.reason,
        "wait_seconds": event.wait_seconds,
    }


def tool_call_data(event: ToolCallDelta) -> Json:
    return {"index": event.index, "id": event.id, "name": event.name, "arguments": event.arguments}


def done_data(event: Done) -> Json:
    return {
        "model": event.model,
        "location": event.location,
        "finish_reason": event.finish_reason,
        "input_tokens": event.input_tokens,
        "output_tokens": event.output_tokens,
        "cost_usd": event.cost_usd,
        "cost_source": event.cost_source,
        "latency_ms": event.latency_ms,
        "time_to_first_token_ms": event.time_to_first_token_ms,
        "attempt_count": event.attempt_count,
        "warnings": list(event.warnings),
        "ledger": event.ledger,
    }


def failed_data(event: Failed) -> Json:
    return problem_body(event.error, event.request_id, delivered_characters=event.delivered_characters)


def report_data(report: AttemptReport) -> Json:
    """One row of `attempts` in the answer with `stream: false`."""
    return {
        "model": report.model,
        "number": report.number,
        "outcome": report.outcome,
        "code": report.code,
        "reason": report.reason,
        "latency_ms": report.latency_ms,
    }


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """Event `progress` of a folder that is being indexed."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class IndexDone:
    """Event `done` of the same: the folder's status as JSON."""

    data: Json


def progress_data(progress: Progress) -> Json:
    return asdict(progress)


EVENTS: dict[type, tuple[bytes, Callable[[Any], Json]]] = {
    RouteChosen: (b"route", lambda e: route_data(e.request_id, e.route)),
    ContextBuilt: (b"context", lambda e: context_data(e.window)),
    AttemptFailed: (b"attempt", attempt_data),
    TextDelta: (b"token", lambda e: {"text": e.text}),
    ReasoningDelta: (b"reasoning", lambda e: {"text": e.text}),
    ToolCallDelta: (b"tool_call", tool_call_data),
    Done: (b"done", done_data),
    Failed: (b"error", failed_data),
    IndexProgress: (b"progress", lambda e: progress_data(e.progress)),
    IndexDone: (b"done", lambda e: e.data),
}
"""The name and the data of each event of the contract's table."""
ENDINGS = frozenset({Done, Failed, IndexDone})
"""Exactly one of these ends a stream."""


class Answer:
    """A drained stream, for `stream: false`. Feed it every batch, then take `body()`."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, Json] = {}
        self._route: RouteChosen | None = None
        self._context: ContextWindow | None = None
        self._end: Done | Failed | None = None

    def take(self, batch: list[Event]) -> None:
        for event in batch:
            if isinstance(event, TextDelta):
                self._texts.append(event.text)
            elif isinstance(event, ToolCallDelta):
                self._add_call(event)
            elif isinstance(event, RouteChosen):
                self._route = event
            elif isinstance(event, ContextBuilt):
                self._context = event.window
            elif isinstance(event, (Done, Failed)):
                self._end = event

    def body(self) -> Json:
        """The contract's one JSON object. Raises the `SidecarError` the stream ended with, its attempts added."""
        if isinstance(self._end, Failed):
            error = self._end.error
            error.extra = {
                **error.extra,
                "delivered_characters": self._end.delivered_characters,
                "attempts": [report_data(a) for a in self._end.attempts],
            }
            raise error
        if self._end is None or self._route is None:
            raise AssertionError("a stream begins with a route and ends with Done or Failed")
        return {
            "request_id": self._route.request_id,
            "text": "".join(self._texts),
            "tool_calls": [self._calls[index] for index in sorted(self._calls)],
            "route": route_data(self._route.request_id, self._route.route),
            "context": None if self._context is None else context_data(self._context),
            "attempts": [report_data(a) for a in self._end.attempts],
            **done_data(self._end),
        }

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(delta.index, {"id": None, "name": None, "arguments": ""})
        call["id"] = delta.id or call["id"]
        call["name"] = delta.name or call["name"]
        call["arguments"] += delta.arguments
