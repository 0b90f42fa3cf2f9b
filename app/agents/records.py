"""Runs as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a run is. `ok` is written when it has ended well, together with the state the agent keeps."""

    DUE = "due"
    """Accepted; waits for its turn."""
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    MISSED = "missed"
    """Due while nobody was there to start it, and too late now."""
    INTERRUPTED = "interrupted"
    """Running when the sidecar stopped."""
    SKIPPED = "skipped"
    """Due while the run before it was still going on."""
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self not in (State.DUE, State.RUNNING)


class Cause(StrEnum):
    """Why there is a run."""

    SCHEDULE = "schedule"
    TRIGGER = "trigger"
    RERUN = "rerun"
    """In the place of an interrupted one."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, or one due time that had none. Times are UTC."""

    id: str
    agent: str
    kind: str
    workspace: str
    private: bool
    cause: Cause
    state: State
    created_at: datetime
    scheduled_at: datetime | None = None
    rerun_of: str | None = None
    attempt: int = 0
    """How many tries were begun."""
    dry_run: bool = False
    input: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    summary: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    stored: Sequence[str] = ()
    withheld: Sequence[str] = ()
    """Of a dry run: what would have been stored or told."""
    error_code: str | None = None
    error_message: str | None = None
    progress: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    state: State
    finished_at: datetime
    summary: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    stored: Sequence[str] = ()
    withheld: Sequence[str] = ()
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a run's requests used, by the ledger. `cost_micro_usd` None: of some of it nobody knows the price."""

    models: Sequence[str] = ()
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int | None = 0


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """What outlasts a restart of one agent's schedule."""

    agent: str
    fingerprint: str | None = None
    accounted_to: datetime | None = None
    paused_at: datetime | None = None
    paused_because: str | None = None
    failures: int = 0
