"""The parts of a receipt as tables: what the model was given, why this model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, TextIO

from app.cli.output import Column, dollars, number, table

Row = Mapping[str, Any]
_AVAILABLE = {"yes": "available", "no": "not listed by its server"}


def rows_of(value: Any) -> list[Row]:
    """The objects of a JSON list; nothing where it is not one."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """A JSON value as a cell: null is empty, true and false are words."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


MOST_ALIKE = 12
"""Rows of blocks that differ in nothing but their place; a long conversation has hundreds, `--json` has them all."""


def context_table(context: Row, title: str, out: TextIO | None = None) -> None:
    """The blocks of a `context` event: kept, shortened, summarised, dropped, and why. What repeats is folded."""
    columns = [Column("block"), Column("priority", True), Column("tokens", True), Column("outcome"), Column("reason")]
    rows: list[list[str]] = []
    for _, group in groupby(rows_of(context.get("blocks")), key=_alike):
        alike = list(group)
        shown = alike if len(alike) <= MOST_ALIKE + 1 else alike[:MOST_ALIKE]
        rows += [_block_row(block, _name(block), block.get("tokens")) for block in shown]
        if rest := alike[len(shown) :]:
            tokens = sum(block.get("tokens") or 0 for block in rest)
            rows.append(_block_row(rest[0], f"… {len(rest)} more of {text_of(rest[0].get('kind'))}", tokens))
    table(columns, rows, title=title, out=out)
    for said in context.get("notes") or ():
        print(f"note: {said}", file=out)


def _alike(block: Row) -> tuple[str, ...]:
    return tuple(text_of(block.get(key)) for key in ("kind", "priority", "outcome", "reason"))


def _name(block: Row) -> str:
    return text_of(block.get("kind")) if block.get("id") in (None, block.get("kind")) else text_of(block.get("id"))


def _block_row(block: Row, name: str, tokens: Any) -> list[str]:
    return [
        name,
        text_of(block.get("priority")),
        number(tokens),
        text_of(block.get("outcome")),
        text_of(block.get("reason")),
    ]


def verdict_table(verdicts: Iterable[Row]) -> None:
    rows = [
        [
            text_of(v.get("rule")),
            "matches" if v.get("matched") else "no",
            text_of(v.get("failed")),
        ]
        for v in verdicts
    ]
    table([Column("rule"), Column("verdict"), Column("first condition that failed")], rows, title="Rules")


def removed_table(removed: Iterable[Row]) -> None:
    rows = [[text_of(r.get(key)) for key in ("model", "origin", "code", "reason")] for r in removed]
    table([Column("model"), Column("from"), Column("code"), Column("reason")], rows, title="Left out")


def candidate_table(candidates: Iterable[Row]) -> None:
    columns = [
        Column("model"),
        Column("from", spare=1),
        Column("location"),
        Column("state"),
        Column("input", True),
        Column("output reserve", True, 2),
        Column("window", True),
        Column("cost at most", True),
        Column("fit"),
    ]
    table(columns, [_candidate_row(c) for c in candidates], title="Candidates, in the order they are asked")


def _candidate_row(candidate: Row) -> list[str]:
    context = candidate.get("context")
    fitted: Row = context if isinstance(context, Mapping) else {}
    state = text_of(candidate.get("resting")) or _AVAILABLE.get(text_of(candidate.get("available")), "")
    return [
        *(text_of(candidate.get(key)) for key in ("model", "origin", "location")),
        state,
        *(number(fitted.get(key)) if fitted else "" for key in ("input_tokens", "reserved_output", "window")),
        dollars(candidate.get("estimated_cost_usd")) if fitted else "",
        text_of(candidate.get("problem")) or _fit(fitted),
    ]


def _fit(context: Row) -> str:
    """`all kept`, or how many blocks went short and how."""
    outcomes = [text_of(block.get("outcome")) for block in rows_of(context.get("blocks"))]
    short = [f"{outcomes.count(o)} {o}" for o in ("shortened", "summarised", "dropped") if o in outcomes]
    upgraded = context.get("upgraded_from")
    return ", ".join([*([f"upgraded from {upgraded}"] if upgraded else []), *(short or ["all kept"])])
