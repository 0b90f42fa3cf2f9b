"""What a group of attempts adds up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.usage.pricing import to_usd
from app.usage.rollups import SUMS

SHOWN_SUMS = tuple(name for name in SUMS if name not in ("timed_output_tokens", "output_ms"))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; None where nothing was measured."""

    p50: int | None = None
    p95: int | None = None


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """What a group, or the whole range, adds up to.

    `requests` counts each request once, where its first attempt began and in the group of that attempt: a model that
    only ever stood in for another has attempts and no requests. So everything adds up exactly: the groups' requests,
    attempts, tokens and `cost_micro_usd` give those of the totals, and those of the rows.

    Tokens and cost are sums over what is known; `cost_unknown` attempts are in no sum, and `cost_usd` is None where
    nothing is known at all. `success_rate` is ok / (ok + error), None without either; a person who left, or a crash, is
    no failure of the model's. Percentiles (milliseconds, nearest rank, within 2 %: see `app.usage.sketches`) are over
    the attempts that went well, and so is `tokens_per_second`, which is of the time after the first token.
    `cost_share` and `attempt_share` are of the whole range; None where that is nothing.
    """

    requests: int = 0
    attempts: int = 0
    ok: int = 0
    errors: int = 0
    cancelled: int = 0
    interrupted: int = 0
    pending: int = 0
    success_rate: float | None = None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micro_usd: int = 0
    cost_usd: float | None = None
    estimated_cost_micro_usd: int = 0
    cost_estimated: int = 0
    cost_unknown: int = 0
    cost_share: float | None = None
    attempt_share: float | None = None
    latency_p50_ms: int | None = None
    latency_p95_ms: int | None = None
    time_to_first_token_p50_ms: int | None = None
    time_to_first_token_p95_ms: int | None = None
    tokens_per_second: float | None = None


@dataclass(slots=True)
class Sums:
    """Figures in the making: `values` in the order of `SUMS`, and the attempts that have not ended yet."""

    values: list[int]
    pending: int = 0
    pending_requests: int = 0

    @classmethod
    def nothing(cls) -> Sums:
        return cls([0] * len(SUMS))

    @property
    def is_empty(self) -> bool:
        return not self.pending and not self.values[_ATTEMPTS]

    def add(self, values: Sequence[int], sign: int = 1) -> None:
        self.values = [a + sign * b for a, b in zip(self.values, values, strict=True)]


_ATTEMPTS = SUMS.index("attempts")
_COST = SUMS.index("cost_micro_usd")


def figures(sums: Sums, whole: Sums, latency: Percentiles, first_token: Percentiles) -> UsageFigures:
    """`whole`: what the shares are of."""
    of: Mapping[str, int] = dict(zip(SUMS, sums.values, strict=True))
    attempts, unknown = of["attempts"] + sums.pending, of["cost_unknown"] + sums.pending
    decided = of["ok"] + of["errors"]
    shown = {name: of[name] for name in SHOWN_SUMS}
    shown.update(requests=of["requests"] + sums.pending_requests, attempts=attempts, cost_unknown=unknown)
    return UsageFigures(
        **shown,
        pending=sums.pending,
        success_rate=of["ok"] / decided if decided else None,
        cost_usd=to_usd(of["cost_micro_usd"]) if unknown < attempts or not attempts else None,
        cost_share=_share(of["cost_micro_usd"], whole.values[_COST]),
        attempt_share=_share(attempts, whole.values[_ATTEMPTS] + whole.pending),
        latency_p50_ms=latency.p50,
        latency_p95_ms=latency.p95,
        time_to_first_token_p50_ms=first_token.p50,
        time_to_first_token_p95_ms=first_token.p95,
        tokens_per_second=round(of["timed_output_tokens"] * 1000 / of["output_ms"], 2) if of["output_ms"] else None,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
