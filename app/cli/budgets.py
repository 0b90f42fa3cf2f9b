"""`llm-sidecar budgets`: what may be spent, what is, and where that is heading."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.common import JsonOption, print_json, read_settings

PATH = "/api/v1/budgets"
BAR = 10
"""Characters."""


def register(app: typer.Typer) -> None:
    app.command("budgets")(budgets)


def budgets(
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Those that cover it only.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the budgets: used, held by running calls, left, and the projection to the end of the period."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, note, table
    from app.cli.show import rows_of

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH, {"workspace": workspace} if workspace else {})
    if as_json:
        print_json(answer)
        return
    rows = rows_of(answer.get("budgets"))
    if not rows:
        note("no budgets; write them into profiles.yaml: budgets: [{period: month, limit_usd: 50, on_limit: block}]")
        return
    columns = [
        Column("budget"), Column("period"), Column("limit", True), Column("used", True),
        Column("", True), Column("held", True, 3), Column("left", True, 1), Column("at the end", True, 2),
        Column("then"),
    ]  # fmt: skip
    table(columns, [_row(row) for row in rows], title="Budgets")


def _row(row: Any) -> list[str]:
    from app.cli.output import dollars

    names = [str(row[key]) for key in ("workspace", "agent", "task_type") if row.get(key)]
    then = f"{row['on_limit']}{' (shadow)' if row.get('shadow') else ''}"
    known = row.get("used_usd") is not None
    return [
        " / ".join(names) or "everything",
        str(row["period"]),
        dollars(row["limit_usd"]),
        dollars(row["used_usd"]) if known else "",
        bar(row["used_fraction"]) if known else "",
        dollars(row["reserved_usd"]) if row.get("reserved_usd") else "",
        dollars(row["left_usd"]) if known else "",
        dollars(row["projected_usd"]) if row.get("projected_usd") is not None else "",
        then,
    ]


def bar(fraction: float) -> str:
    """`######----  60%`: plain characters, for every terminal."""
    full = min(BAR, round(fraction * BAR)) if fraction < 1 else BAR
    return f"{'#' * full}{'-' * (BAR - full)} {fraction:4.0%}"
