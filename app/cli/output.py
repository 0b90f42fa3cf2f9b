"""How things look: tables through rich on a terminal and as plain columns elsewhere; dim notes on stderr."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIM, _RESET = "\x1b[2m", "\x1b[0m"
UNBROKEN = 16
"""Longer words of a table, ids and paths, may be broken where the terminal is narrow."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, whether its cells are numbers (set to the right), and whether it may be left out.

    `spare`: where the lines are too short for all columns, those with the highest number go first; 0 never goes.
    """

    title: str
    number: bool = False
    spare: int = 0


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
    cells = [[printable(cell) for cell in row] for row in rows]
    found = fitting(columns, cells, console.width)
    if found is None:
        _records(columns, cells, console)
        return
    places, widths = found
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for place, width in zip(places, widths, strict=True):
        justify: Literal["right", "left"] = "right" if columns[place].number else "left"
        shown.add_column(Text(columns[place].title), justify=justify, overflow="fold", width=width)
    for row in cells:
        shown.add_row(*(Text(row[place]) for place in places))
    console.print(shown)
    if left_out := [column.title for place, column in enumerate(columns) if place not in places]:
        console.print(Text(f"(no room for: {', '.join(left_out)})", style="dim"))


def fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> tuple[list[int], list[int]] | None:
    """The places of the columns that are shown in lines of `room` characters, and their widths; None: even those that
    may not be left out need more."""
    places = list(range(len(columns)))
    while True:
        widths = column_widths([columns[p] for p in places], [[row[p] for p in places] for row in cells], room)
        if widths is not None:
            return places, widths
        spare = max(places, key=lambda place: columns[place].spare)
        if not columns[spare].spare:
            return None
        places.remove(spare)


def column_widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """How wide each column may be where lines have `room` characters, two between columns; the widest gives way.

    No number is ever broken, nor a column that may be left out instead, nor a word up to `UNBROKEN` characters. None:
    the lines are too short for that.
    """
    natural, least = [], []
    for at, column in enumerate(columns):
        shown = [row[at] for row in cells]
        words = [word for text in (column.title, *shown) for word in text.split()]
        longest = max(map(_cells, words), default=1)
        whole = max(map(_cells, shown), default=1)
        natural.append(max(_cells(column.title), whole, 1))
        least.append(max(longest, whole) if column.number or column.spare else min(longest, UNBROKEN))
    room -= 2 * (len(columns) - 1)
    if sum(least) > room:
        return None
    while sum(natural) > room:
        widest = max(range(len(columns)), key=lambda at: natural[at] if natural[at] > least[at] else 0)
        natural[widest] -= 1
    return natural


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, text.splitlines()), default=0)


def _records(columns: Sequence[Column], cells: Sequence[Sequence[str]], console: Console) -> None:
    """One block a row, one line a cell that is not empty: for terminals too narrow for the table."""
    from rich.table import Table
    from rich.text import Text

    for number_of, row in enumerate(cells):
        shown = Table(box=None, pad_edge=False, show_header=False)
        shown.add_column(no_wrap=True, style="dim")
        shown.add_column(overflow="fold")
        for column, cell in zip(columns, row, strict=True):
            if cell:
                shown.add_row(Text(column.title), Text(cell))
        if number_of:
            console.print()
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
