"""Usage reports on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from app.cli.output import Column, dollars, milliseconds, note, number, printable, table
from app.cli.show import rows_of, text_of

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 62


def show(answer: Mapping[str, Any], fields: Sequence[str], spark: str) -> None:
    """The table, with its totals last; a line of bars above it where there is one."""
    columns = [
        *(Column(field) for field in fields),
        Column("requests", True), Column("attempts", True, 5), Column("input", True, 1), Column("output", True),
        Column("cost", True), Column("share", True, 4), Column("ok", True), Column("median", True, 2),
        Column("first token", True, 6), Column("tokens/s", True, 3),
    ]  # fmt: skip
    rows = []
    for group in rows_of(answer.get("groups")):
        key = group.get("key")
        named: Mapping[str, Any] = key if isinstance(key, Mapping) else {}
        rows.append([*(text_of(named.get(field)) or "-" for field in fields), *_amounts(group)])
    totals = answer.get("totals")
    if rows and isinstance(totals, Mapping):
        rows.append(["total", *("" for _ in fields[1:]), *_amounts(totals)])
    if spark:
        print(spark)
    table(columns, rows, title=f"{_minute(answer.get('from'))} to {_minute(answer.get('to'))}")
    for text in answer.get("notes") or ():
        note(printable(str(text)))


def spark_line(answer: Mapping[str, Any], unit: str) -> str:
    """`cost by day ▁▃█, at most $1.20 at 2026-11-21`; requests where nothing cost anything."""
    costs, requests = _series(answer, unit, "cost_usd"), _series(answer, unit, "requests")
    what, series = ("cost", costs) if any(costs.values()) else ("requests", requests)
    if len(series) < 2 or not any(series.values()):
        return ""
    when, most = max(series.items(), key=lambda item: item[1])
    shown = dollars(most) if what == "cost" else number(int(most))
    return (
        f"{what} by {unit} {bars(list(series.values())[-MOST_BARS:])}, at most {shown} at {when[:13].replace('T', ' ')}"
    )


def bars(values: Sequence[float]) -> str:
    """One character each, as high as its share of the largest; what is not nothing is seen."""
    largest = max(values, default=0)
    if largest <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[min(round(value / largest * (len(BARS) - 1)) or int(value > 0), 7)] for value in values)


def _series(answer: Mapping[str, Any], unit: str, name: str) -> dict[str, float]:
    """By time, in order; days without a row are nothing, and are there."""
    found: dict[str, float] = {}
    for group in rows_of(answer.get("groups")):
        key = group.get("key")
        when = key.get(unit) if isinstance(key, Mapping) else None
        if isinstance(when, str):
            if unit == "day":
                found.update(dict.fromkeys(_between(found, when), 0.0))
            found[when] = float(group.get(name) or 0)
    return found


def _between(found: dict[str, float], until: str) -> list[str]:
    if not found:
        return []
    last, end = date.fromisoformat(next(reversed(found))), date.fromisoformat(until)
    return [(last + timedelta(days=n)).isoformat() for n in range(1, min((end - last).days, 400))]


def _minute(moment: Any) -> str:
    """2026-03-01 09:30, in the zone that was asked for."""
    return str(moment)[:16].replace("T", " ")


def _amounts(row: Mapping[str, Any]) -> list[str]:
    counts = [number(row.get(key)) for key in ("requests", "attempts", "input_tokens", "output_tokens")]
    cost, unknown = row.get("cost_usd"), row.get("cost_unknown") or 0
    told = f"{dollars(cost)} and {unknown} unknown" if cost is not None and unknown else dollars(cost)
    if row.get("estimated_cost_micro_usd"):
        told = f"~{told}"
    times = [
        milliseconds(row[key]) if row.get(key) is not None else ""
        for key in ("latency_p50_ms", "time_to_first_token_p50_ms")
    ]
    speed = row.get("tokens_per_second")
    return [
        *counts,
        told,
        _percent(row, "cost_share"),
        _percent(row, "success_rate"),
        *times,
        number(speed) if speed else "",
    ]


def _percent(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return f"{value:.0%}" if isinstance(value, int | float) else ""
