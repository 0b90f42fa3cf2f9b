"""What a group of attempts adds up to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from app.usage.percentiles import Ints
from app.usage.pricing import to_usd
from app.usage.rollups import SUMS

SHOWN_SUMS = tuple(name for name in SUMS if name not in ("timed_output_tokens", "output_ms"))


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


@dataclass(frozen=True, slots=True)
class Table:
    """Groups in the making, in arrays: `sums` (n, len(SUMS)), `pending` and `pending_requests` (n), percentiles (n, 2).

    Pending attempts have not ended yet, and are in no sum.
    """

    sums: Ints
    pending: Ints
    pending_requests: Ints
    latency: Ints
    first_token: Ints


FIELDS = tuple(field.name for field in fields(UsageFigures))


def figures(table: Table, cost: int, attempts: int) -> list[tuple[Any, ...]]:
    """Each group's figures in the order of `FIELDS`. `cost` (micro-dollars) and `attempts`: what the shares are of."""
    of = dict(zip(SUMS, table.sums.T.tolist(), strict=True))
    pending = table.pending.tolist()
    all_attempts = (table.sums[:, SUMS.index("attempts")] + table.pending).tolist()
    unknown = (table.sums[:, SUMS.index("cost_unknown")] + table.pending).tolist()
    percentiles = [
        [None if v < 0 else v for v in column.tolist()] for column in (*table.latency.T, *table.first_token.T)
    ]
    columns: dict[str, list[Any]] = {
        **{name: of[name] for name in SHOWN_SUMS},
        "requests": (table.sums[:, SUMS.index("requests")] + table.pending_requests).tolist(),
        "attempts": all_attempts,
        "cost_unknown": unknown,
        "pending": pending,
        "success_rate": [_share(ok, ok + errors) for ok, errors in zip(of["ok"], of["errors"], strict=True)],
        "cost_usd": [
            to_usd(micro) if without < every or not every else None
            for micro, without, every in zip(of["cost_micro_usd"], unknown, all_attempts, strict=True)
        ],
        "cost_share": [_share(micro, cost) for micro in of["cost_micro_usd"]],
        "attempt_share": [_share(every, attempts) for every in all_attempts],
        "latency_p50_ms": percentiles[0],
        "latency_p95_ms": percentiles[1],
        "time_to_first_token_p50_ms": percentiles[2],
        "time_to_first_token_p95_ms": percentiles[3],
        "tokens_per_second": [
            round(tokens * 1000 / ms, 2) if ms else None
            for tokens, ms in zip(of["timed_output_tokens"], of["output_ms"], strict=True)
        ],
    }
    return list(zip(*(columns[name] for name in FIELDS), strict=True))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
