"""Rows for the tests of the store and the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.usage.records import AttemptEnd, AttemptStart, CostSource, Receipt, Status

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def attempt(id: str, **changes: Any) -> AttemptStart:
    start = AttemptStart(
        id=id,
        request_id=f"request-{id}",
        attempt=1,
        workspace_profile_id="personal",
        session_id=None,
        agent=None,
        task_type="chat",
        rule="default",
        provider="ollama",
        model="ollama/llama3:8b",
        location="loopback",
        created_at=NOW,
    )
    return replace(start, **changes)


def ended(**changes: Any) -> AttemptEnd:
    end = AttemptEnd(
        status=Status.OK,
        settled_at=NOW + timedelta(seconds=2),
        latency_ms=2000,
        input_tokens=3200,
        output_tokens=850,
        cost_micro_usd=22_350,
        cost_source=CostSource.COMPUTED,
        time_to_first_token_ms=300,
    )
    return replace(end, **changes)


def receipt_of(id: str) -> Receipt:
    return Receipt(f"request-{id}", {"task_type": "chat"}, {"rule": "default"}, {"window": 8192})
