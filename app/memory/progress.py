"""How far an indexing run is: values, and the tally they are read off. Pure; time is passed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["queued", "scanning", "indexing", "finishing", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a run. `files_seen` counts files that could be indexed, `files_to_index` those that are new or
    changed; None while the folder is still being listed. `skipped` is a number for each reason. `rate` is chunks a
    second, `eta_seconds` what is left at the pace so far; both None while unknown."""

    state: State
    files_seen: int
    files_unchanged: int
    files_to_index: int | None
    files_indexed: int
    files_removed: int
    chunks: int
    skipped: Mapping[str, int]
    elapsed_seconds: float
    rate: float | None
    eta_seconds: float | None


@dataclass(slots=True)
class Tally:
    """Counts up while a run goes on. Bytes tell how much is left: files differ too much."""

    started: float
    state: State = "queued"
    seen: int = 0
    unchanged: int = 0
    to_index: int | None = None
    indexed: int = 0
    removed: int = 0
    chunks: int = 0
    bytes_to_index: int = 0
    bytes_indexed: int = 0
    indexing_since: float | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    def snapshot(self, now: float) -> Progress:
        since = now - self.indexing_since if self.indexing_since is not None else 0.0
        rate = self.chunks / since if since > 0 and self.chunks else None
        eta = None
        if self.state == "indexing" and self.bytes_indexed and since > 0:
            eta = max(0.0, since * (self.bytes_to_index - self.bytes_indexed) / self.bytes_indexed)
        return Progress(
            state=self.state,
            files_seen=self.seen,
            files_unchanged=self.unchanged,
            files_to_index=self.to_index,
            files_indexed=self.indexed,
            files_removed=self.removed,
            chunks=self.chunks,
            skipped=dict(sorted(self.skipped.items())),
            elapsed_seconds=round(now - self.started, 3),
            rate=None if rate is None else round(rate, 1),
            eta_seconds=None if eta is None else round(eta, 1),
        )
