"""What to do after an attempt failed, as a value.

With `backoff_seconds: [a, b, c]` a candidate gets three tries, a and b apart; then the next candidate is asked at once.
Only where no candidate is left, c is waited before one last try. The same shape holds for any number of waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.errors import AttemptError, FailureKind

JITTER = 0.1
"""The most a wait is lengthened by, as a share of itself: sidecars that failed together do not come back together."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask the same model again after `wait_seconds`."""

    wait_seconds: float


@dataclass(frozen=True, slots=True)
class NextModel:
    """Ask the next candidate at once."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further try."""

    reason: str


Decision: TypeAlias = Retry | NextModel | GiveUp


@dataclass(frozen=True, slots=True)
class AttemptState:
    """Where the request stands when an attempt has failed.

    `tries`: how often this candidate was asked so far, the failed one included. `candidates_left`: how many others
    could still be asked. `elapsed_seconds`: since the request began.
    """

    tries: int
    candidates_left: int
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`decide` is pure: the random number comes with the call.

    `max_total_seconds`: no try starts later than this after the request began.
    """

    backoff_seconds: tuple[float, ...] = (1, 5, 15)
    max_total_seconds: float = 120

    def decide(self, error: AttemptError, state: AttemptState, chance: float = 0.0) -> Decision:
        """What follows `error`. `chance` in [0, 1) places the jitter."""
        if error.kind is FailureKind.FATAL:
            return GiveUp(f"{error.code}: another try or another model cannot change that")
        if error.kind is FailureKind.NEXT:
            return self._move_on(state, error.code)
        tries_each = max(1, len(self.backoff_seconds))
        last_try_left = state.tries == tries_each and not state.candidates_left and bool(self.backoff_seconds)
        if state.tries >= tries_each and not last_try_left:
            return self._move_on(state, f"{error.code} {state.tries} times")
        wait = self.backoff_seconds[state.tries - 1] * (1 + JITTER * chance)
        wait = max(wait, error.retry_after or 0.0)
        if state.elapsed_seconds + wait > self.max_total_seconds:
            return self._move_on(state, f"{error.code}, and a wait of {wait:.3g} s would pass the time limit")
        return Retry(wait)

    def _move_on(self, state: AttemptState, reason: str) -> Decision:
        if not state.candidates_left:
            return GiveUp(reason)
        if state.elapsed_seconds > self.max_total_seconds:
            return GiveUp(f"{reason}; the {self.max_total_seconds:.3g} s for all tries are used up")
        return NextModel(reason)
