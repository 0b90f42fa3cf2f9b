"""Builds, and when one is news: broken, repaired, flaky, slower than its history. Pure: a decision is a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Final, Literal, TypeAlias

State: TypeAlias = Literal["passing", "failing", "running", "unknown"]
Kind: TypeAlias = Literal["broken", "repaired", "flaky", "slower"]

REMEMBERED: Final = 30
"""Builds of a source."""
FLAKY_WINDOW: Final = 10
FLAKY_TURNS: Final = 4
"""Changes between passing and failing within the window that make a build flaky, not broken and repaired in turn."""
SLOWER_FACTOR: Final = 1.5
SLOWER_SECONDS: Final = 30.0
SLOWER_AFTER: Final = 5
"""Passing builds that must be known before one is called slow."""


@dataclass(frozen=True, slots=True)
class Build:
    """The latest finished build of a source. `seconds` None: not told. `log`: as it came, may be empty."""

    id: str
    state: State
    url: str | None = None
    seconds: float | None = None
    log: str = ""
    failed: tuple[str, ...] = ()
    """Names of the jobs, steps or tests that failed."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is news about a build, in one sentence without a full stop."""

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One build that was seen before."""

    id: str
    state: str
    seconds: float | None

    def data(self) -> dict[str, Any]:
        return {"id": self.id, "state": self.state, "seconds": self.seconds}


def history_of(data: object) -> list[Seen]:
    """What `remember` kept; nothing where it is not that."""
    rows = data if isinstance(data, list) else []
    return [Seen(str(r.get("id")), str(r.get("state")), r.get("seconds")) for r in rows if isinstance(r, Mapping)]


def remember(history: Sequence[Seen], build: Build) -> list[dict[str, Any]]:
    """The history with the build, as JSON; nothing changes for one that is running, unknown or was seen last."""
    kept = list(history)
    if build.state in ("passing", "failing") and not _known(history, build):
        kept.append(Seen(build.id, build.state, build.seconds))
    return [seen.data() for seen in kept[-REMEMBERED:]]


def decide(history: Sequence[Seen], build: Build) -> Change | None:
    """What is news about `build` after `history` (oldest first); None: nothing."""
    if build.state not in ("passing", "failing") or _known(history, build):
        return None
    states = [seen.state for seen in history] + [build.state]
    turned = len(states) > 1 and states[-1] != states[-2]
    turns = _turns(states[-FLAKY_WINDOW:])
    if turned and turns >= FLAKY_TURNS:
        # Said once, when it becomes so; the turns after that are what was said.
        known = _turns(states[-FLAKY_WINDOW - 1 : -1]) >= FLAKY_TURNS
        return None if known else Change("flaky", f"turned {turns} times in its last {FLAKY_WINDOW} builds")
    if build.state == "failing":
        if turned or len(states) == 1:
            named = f": {', '.join(build.failed[:3])}" if build.failed else ""
            return Change("broken", f"fails{named}")
        return None
    if turned:
        return Change("repaired", "passes again")
    return _slower(history, build)


def _known(history: Sequence[Seen], build: Build) -> bool:
    """Whether it is the one that was seen last: a source that numbers nothing says the same until its state changes."""
    return bool(history) and history[-1].id == build.id


def _turns(states: Sequence[str]) -> int:
    return sum(1 for before, after in pairwise(states) if before != after)


def _slower(history: Sequence[Seen], build: Build) -> Change | None:
    usual = [seen.seconds for seen in history if seen.state == "passing" and seen.seconds is not None]
    if build.seconds is None or len(usual) < SLOWER_AFTER:
        return None
    middle = median(usual)
    if _is_slow(build.seconds, middle) and not _is_slow(usual[-1], middle):
        return Change("slower", f"took {build.seconds:.0f} s, usually {middle:.0f} s")
    return None


def _is_slow(seconds: float, middle: float) -> bool:
    return seconds > middle * SLOWER_FACTOR and seconds > middle + SLOWER_SECONDS
