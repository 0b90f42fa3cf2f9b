"""How things look: tables through rich on a terminal and as plain columns elsewhere; dim notes on stderr."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIM, _RESET = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether its cells are numbers (set to the right)."""

    title: str
    number: bool = False


def printable(text: str) -> str:
    """Text from outside as a terminal may see it: no escape sequence in an answer moves the cursor or sets a title."""
    return _CONTROL.sub("", text)


def safe_for(stream: TextIO, text: str) -> str:
    """Unchanged where a program reads, `printable` where a terminal shows it."""
    return printable(text) if stream.isatty() else text


def note(text: str, *, dim: bool = True) -> None:
    """A line on stderr, beside the answer on stdout."""
    coloured = dim and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    line = safe_for(sys.stderr, text)
    print(f"{_DIM}{line}{_RESET}" if coloured else line, file=sys.stderr, flush=True)


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, title: str = "", out: TextIO | None = None
) -> None:
    """Print a table; an empty one prints its title and `(none)`."""
    stream = out or sys.stdout
    if stream.isatty():
        _rich_table(columns, rows, title, stream)
    else:
        print(plain_table(columns, rows, title), file=stream, flush=True)


def plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Columns two spaces apart, as wide as their widest cell; no line ends in a space."""
    lines = [title] if title else []
    if not rows:
        return "\n".join([*lines, "(none)"])
    cells = [[c.title.upper() for c in columns], *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    for row in cells:
        padded = (
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str, stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream)
    if title:
        console.print(Text(title, style="bold"))
    if not rows:
        console.print(Text("(none)", style="dim"))
        return
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        shown.add_column(Text(column.title), justify="right" if column.number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    console.print(shown)


def number(value: Any) -> str:
    """1,234; an unknown number is `?`, never 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "?"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def dollars(value: Any) -> str:
    """$0.0123; an unknown cost is said to be so."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "unknown"
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 100 else f"${value:.4f}" if value >= 0.0001 else f"${value:.6f}"


def milliseconds(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "?"
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"
