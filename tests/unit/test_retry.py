"""RetryPolicy.decide as a table: an error and where the request stands, and what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import errors
from app.llm.retry import AttemptState, Decision, GiveUp, NextModel, Retry, RetryPolicy

POLICY = RetryPolicy((1, 5, 15), max_total_seconds=120)
LIMITED = errors.RateLimited("slow down")


def state(tries: int, left: int = 1, elapsed: float = 0.0) -> AttemptState:
    return AttemptState(tries, left, elapsed)


@pytest.mark.parametrize(
    ("error", "where", "expected"),
    [
        (LIMITED, state(1), Retry(1)),
        (LIMITED, state(2), Retry(5)),
        (LIMITED, state(3), NextModel),
        (LIMITED, state(3, left=0), Retry(15)),
        (LIMITED, state(4, left=0), GiveUp),
        (errors.RateLimited("", retry_after=7), state(1), Retry(7)),
        (errors.RateLimited("", retry_after=0.1), state(1), Retry(1)),
        (errors.RateLimited("", retry_after=500), state(1), NextModel),
        (errors.RateLimited("", retry_after=500), state(1, left=0), GiveUp),
        (LIMITED, state(2, elapsed=119), NextModel),
        (LIMITED, state(2, left=0, elapsed=119), GiveUp),
        (errors.Unreachable("refused"), state(1), NextModel),
        (errors.Unreachable("refused"), state(1, left=0), GiveUp),
        (errors.Unreachable("refused"), state(1, elapsed=121), GiveUp),
        (errors.ModelNotFound(""), state(1), NextModel),
        (errors.BadCredentials(""), state(1), NextModel),
        (errors.Unsupported(""), state(1), NextModel),
        (errors.ContextOverflow(""), state(1), NextModel),
        (errors.EgressBlocked(""), state(1), NextModel),
        (errors.RequestRefused(""), state(1), GiveUp),
        *[
            (kind(""), state(1), Retry(1))
            for kind in (errors.Overloaded, errors.ServerFailed, errors.AttemptTimeout, errors.ConnectionLost)
        ],
        (errors.BadChunk(""), state(1), Retry(1)),
        (errors.EmptyAnswer(""), state(1), Retry(1)),
    ],
)
def test_decisions(error: errors.AttemptError, where: AttemptState, expected: Decision | type) -> None:
    decision = POLICY.decide(error, where)
    if isinstance(expected, type):
        assert isinstance(decision, expected)
    else:
        assert decision == expected


def test_no_waits_configured_means_one_try_each() -> None:
    policy = RetryPolicy((), 120)
    assert isinstance(policy.decide(LIMITED, state(1)), NextModel)
    assert isinstance(policy.decide(LIMITED, state(1, left=0)), GiveUp)


@given(
    waits=st.lists(st.floats(0, 30), max_size=5),
    left=st.integers(0, 3),
    chance=st.floats(0, 1, exclude_max=True),
    after=st.none() | st.floats(0, 1000),
)
def test_always_ends_in_bounded_tries_and_time(
    waits: list[float], left: int, chance: float, after: float | None
) -> None:
    policy = RetryPolicy(tuple(waits), max_total_seconds=60)
    elapsed, tries, decision = 0.0, 0, None
    while not isinstance(decision, NextModel | GiveUp):
        tries += 1
        decision = policy.decide(errors.RateLimited("", retry_after=after), state(tries, left, elapsed), chance)
        if isinstance(decision, Retry):
            assert decision.wait_seconds >= (after or 0)
            assert decision.wait_seconds <= max(waits[tries - 1] * 1.1, after or 0) + 1e-9
            elapsed += decision.wait_seconds
    assert elapsed <= 60
    assert tries <= max(1, len(waits)) + (left == 0)
