from __future__ import annotations

from app import errors
from app.llm.breaker import BreakerBoard, counts
from app.routing.locality import Location


class Now:
    def __init__(self) -> None:
        self.t = 0.0

    def __call__(self) -> float:
        return self.t


def test_rests_after_three_failed_requests_and_is_probed_once() -> None:
    now = Now()
    board = BreakerBoard(now)
    for _ in range(2):
        board.failed("m")
    assert board.resting("m") is None
    board.failed("m")
    assert "resting for 30 s" in (board.resting("m") or "")
    assert board.states() == {"m": board.resting("m")}
    now.t = 30.0
    assert board.resting("m") is None
    board.starts("m")
    assert board.resting("m") == "being probed after a rest"
    board.failed("m")
    now.t = 89.0
    assert board.resting("m"), "a failed probe doubles the rest"
    now.t = 90.0
    board.starts("m")
    board.succeeded("m")
    assert board.resting("m") is None
    board.failed("m")
    assert board.resting("m") is None, "success starts the count again"


def test_an_abandoned_probe_lets_the_next_request_probe() -> None:
    now = Now()
    board = BreakerBoard(now, failures_until_rest=1)
    board.failed("m")
    now.t = 31
    board.starts("m")
    board.abandoned("m")
    assert board.resting("m") is None


def test_rest_is_bounded() -> None:
    now = Now()
    board = BreakerBoard(now)
    for _ in range(20):
        board.failed("m")
    now.t = 300.0
    assert board.resting("m") is None


def test_what_counts() -> None:
    assert counts(errors.ServerFailed(""), Location.LOOPBACK)
    assert counts(errors.Unreachable(""), Location.CLOUD)
    assert not counts(errors.Unreachable(""), Location.LOOPBACK)
    assert not counts(errors.BadCredentials(""), Location.CLOUD)
