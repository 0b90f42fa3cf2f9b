from __future__ import annotations

from app.cli.usage_show import bars, spark_line


def test_bars_are_as_high_as_their_share() -> None:
    assert bars([0, 0.001, 5, 10]) == "▁▂▅█"
    assert bars([0, 0]) == "▁▁"
    assert bars([]) == ""


def test_days_without_rows_are_there() -> None:
    groups = [
        {"key": {"day": day}, "cost_usd": cost, "requests": 1}
        for day, cost in (("2026-11-01", 1.0), ("2026-11-04", 2.0))
    ]
    assert spark_line({"groups": groups}, "day") == "cost by day ▅▁▁█, at most $2.0000 at 2026-11-04"
    free = [group | {"cost_usd": 0} for group in groups]
    assert spark_line({"groups": free}, "day").startswith("requests by day █▁▁█, at most 1")
    assert spark_line({"groups": groups[:1]}, "day") == ""
