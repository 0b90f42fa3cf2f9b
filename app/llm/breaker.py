"""Models that are resting: one that failed several requests in a row is skipped for a while, then probed.

A request counts once, however often it retried. Only failures that cost the person time count: time-outs, overload,
server errors, broken connections, an unreachable cloud. A refused connection on this machine costs a millisecond, and
the person may just be starting the server, so it never makes a model rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from app.errors import AttemptError, FailureKind, Unreachable
from app.routing.locality import Location

FAILURES_UNTIL_REST = 3
FIRST_REST_SECONDS = 30.0
LONGEST_REST_SECONDS = 300.0


def counts(error: AttemptError, location: Location) -> bool:
    """Whether this failure brings the model nearer to a rest."""
    if isinstance(error, Unreachable):
        return not location.is_local
    return error.kind is FailureKind.TRANSIENT


@dataclass(slots=True)
class _State:
    failures: int = 0
    rest_until: float | None = None
    rest_seconds: float = FIRST_REST_SECONDS
    probing: bool = False


@dataclass(slots=True)
class BreakerBoard:
    """One breaker per model id: closed, resting, or half open with one probe under way.

    `monotonic` gives seconds. Used from one event loop; nothing here waits.
    """

    monotonic: Callable[[], float]
    failures_until_rest: int = FAILURES_UNTIL_REST
    first_rest_seconds: float = FIRST_REST_SECONDS
    _states: dict[str, _State] = field(default_factory=dict)

    def resting(self, model: str) -> str | None:
        """Why `model` would be skipped now, or None. Reading changes nothing."""
        state = self._states.get(model)
        if state is None or state.rest_until is None:
            return None
        left = state.rest_until - self.monotonic()
        if left > 0:
            return f"resting for {left:.0f} s more after {state.failures} failed requests in a row"
        return "being probed after a rest" if state.probing else None

    def starts(self, model: str) -> None:
        """A request is about to ask `model`: after a rest this is the probe."""
        state = self._states.get(model)
        if state is not None and state.rest_until is not None:
            state.probing = True

    def succeeded(self, model: str) -> None:
        self._states.pop(model, None)

    def failed(self, model: str) -> None:
        """One request's tries at `model` have ended in a failure that `counts`."""
        state = self._states.setdefault(model, _State(rest_seconds=self.first_rest_seconds))
        state.failures += 1
        if state.rest_until is not None:
            state.rest_seconds = min(state.rest_seconds * 2, LONGEST_REST_SECONDS)
        if state.rest_until is not None or state.failures >= self.failures_until_rest:
            state.rest_until = self.monotonic() + state.rest_seconds
        state.probing = False

    def abandoned(self, model: str) -> None:
        """The request ended without a verdict on `model` (cancelled, or a failure that does not count)."""
        state = self._states.get(model)
        if state is not None:
            state.probing = False

    def states(self) -> dict[str, str]:
        """Resting models and why, for `/health`."""
        return {model: why for model in self._states if (why := self.resting(model))}
