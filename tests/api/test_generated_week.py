"""The generated week, small: every way of asking agrees, and a wrong figure would be seen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.generated_week import DAYS, differing, every_answer, generated, week


async def test_every_way_of_asking_agrees(tmp_path: Path) -> None:
    async with generated(tmp_path, 30, seed=7) as sidecar:
        answers = {who: sums async for who, sums in every_answer(sidecar)}
    assert len(answers) >= 9
    assert answers["SQLite itself"]["attempts"] >= 30
    assert answers["SQLite itself"]["cost_micro_usd"] > 0
    assert list(differing(answers)) == []
    answers["GET /usage, totals"]["cost_micro_usd"] += 1
    assert list(differing(answers)) == ["GET /usage, totals"]


def test_a_week_is_the_same_for_the_same_seed() -> None:
    end = datetime(2026, 11, 26, 22, tzinfo=UTC)
    asks = week(200, 7, end)
    assert asks == week(200, 7, end)
    assert asks != week(200, 8, end)
    assert all(0 < (end - ask.at).total_seconds() <= DAYS * 86400 for ask in asks)
    assert sum(8 <= ask.at.hour < 18 for ask in asks) > 140
