"""Numbers, tables and dates as the commands print them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.common import CliError
from app.cli.output import Column, column_widths, dollars, fitting, milliseconds, number, plain_table, printable, table
from app.cli.request import MOST_BYTES, read_file, read_query
from app.cli.show import MOST_ALIKE, context_table
from app.cli.usage import Period, local_zone, span


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (0, "$0"),
        (0.0125, "$0.0125"),
        (0.0000041, "$0.000004"),
        (1234.5, "$1,234.50"),
        (True, "unknown"),
    ],
)
def test_dollars(value: Any, text: str) -> None:
    assert dollars(value) == text


def test_numbers() -> None:
    assert (number(1234567), number(None), number(0.5)) == ("1,234,567", "?", "0.5")
    assert (milliseconds(80), milliseconds(1234), milliseconds(None)) == ("80 ms", "1.2 s", "?")


def test_plain_table() -> None:
    shown = plain_table([Column("model"), Column("cost", True)], [["gpt-4o", "$1"], ["x", "$100"]], "Title")
    assert shown == "Title\nMODEL   COST\ngpt-4o    $1\nx       $100"
    assert plain_table([Column("model")], [], "Title") == "Title\n(none)"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


WIDE = (Column("model"), Column("requests", True), Column("cost", True), Column("what it says"))
ROWS = [["ollama/llama3:8b", "1,234,567", "$15.0000", "window: config, output: litellm"], ["gpt-4o", "1", "$0", ""]]


def shown_at(
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    columns: Sequence[Column] = WIDE,
    rows: Sequence[Sequence[str]] = ROWS,
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    table(columns, rows, out=out)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in out.getvalue().splitlines()]


def test_a_narrow_terminal_breaks_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_at(100, monkeypatch)[1].split(None, 3) == ROWS[0]
    lines = shown_at(50, monkeypatch)
    assert max(map(len, lines)) <= 50
    assert next(line for line in lines if "llama3" in line).split()[:3] == ROWS[0][:3]
    assert len(lines) > 3, "what it says takes several lines"


def test_a_terminal_too_narrow_for_a_table_shows_records(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_at(36, monkeypatch) == [
        "model         ollama/llama3:8b",
        "requests      1,234,567",
        "cost          $15.0000",
        "what it says  window: config,",
        "              output: litellm",
        "",
        "model     gpt-4o",
        "requests  1",
        "cost      $0",
    ]


def test_what_may_be_left_out_goes_before_the_table_does(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (*WIDE[:2], Column("attempts", True, 1), Column("median", True, 2), Column("cost", True))
    rows = [["ollama/llama3:8b", "1,234,567", "1,234,570", "812 ms", "$15.0000"]]
    head, shown, *rest = shown_at(55, monkeypatch, columns, rows)
    assert head.split() == ["model", "requests", "attempts", "cost"]
    assert shown.split() == [*rows[0][:3], "$15.0000"]
    assert rest == ["(no room for: median)"]


@given(
    st.lists(st.tuples(*[st.text("ab 1", max_size=20)] * 4), max_size=4),
    st.tuples(st.just(0), *[st.integers(0, 3)] * 3),
    st.integers(1, 90),
)
def test_no_more_is_left_out_than_must_be(rows: list[tuple[str, ...]], spare: tuple[int, ...], room: int) -> None:
    columns = [Column(f"title {at}", bool(at % 2), first) for at, first in enumerate(spare)]
    found = fitting(columns, rows, room)
    kept = [at for at, first in enumerate(spare) if not first] if found is None else found[0]
    gone = sorted({*range(4)} - {*kept}, key=lambda at: (spare[at], -at))  # the last to go first
    assert kept == sorted(kept)
    assert all(spare[at] for at in gone)
    if found is None:
        assert column_widths([columns[at] for at in kept], [[row[at] for at in kept] for row in rows], room) is None
    elif gone:
        assert max((spare[at] for at in kept), default=0) <= spare[gone[0]]
        back = sorted([*kept, gone[0]])
        assert column_widths([columns[at] for at in back], [[row[at] for at in back] for row in rows], room) is None


@given(st.lists(st.tuples(*[st.text("ab 1", max_size=30)] * len(WIDE)), max_size=5), st.integers(1, 120))
def test_widths_fill_the_line_at_most(rows: list[tuple[str, ...]], room: int) -> None:
    widths = column_widths(WIDE, rows, room)
    whole = [max(len(text) for text in texts) for texts in zip(*[[c.title for c in WIDE], *rows], strict=True)]
    if widths is None:
        assert sum(whole) + 2 * (len(WIDE) - 1) > room
        return
    assert sum(widths) + 2 * (len(WIDE) - 1) <= room
    for at, column in enumerate(WIDE):
        if column.number:
            assert all(len(row[at]) <= widths[at] for row in rows)


def test_what_is_piped_in_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"x" * MOST_BYTES)))
    assert len(read_query(["-"])) == MOST_BYTES
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"x" * (MOST_BYTES + 1))))
    with pytest.raises(CliError, match="longer than 8,000,000 bytes"):
        read_query(["-"])


@given(st.text())
def test_nothing_printable_moves_the_cursor(text: str) -> None:
    shown = printable(text)
    assert not any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" for c in shown)
    assert printable(shown) == shown


def test_periods_begin_at_local_midnight() -> None:
    now = datetime(2026, 3, 5, 15, 30, tzinfo=UTC).astimezone()
    for period, (month, day) in {Period.TODAY: (3, now.day), Period.WEEK: (3, 2), Period.MONTH: (3, 1)}.items():
        begin = datetime.fromisoformat(str(span(period, None, None, now)["from"]))
        assert (begin.month, begin.day, begin.hour, begin.minute) == (month, day, 0, 0)
        assert begin.tzinfo is not None


def test_dates_given_keep_their_zone() -> None:
    now = datetime(2026, 3, 5, tzinfo=timezone(timedelta(hours=2)))
    given = span(None, "2026-03-01T09:30+02:00", None, now)
    assert given == {"from": "2026-03-01T09:30:00+02:00", "to": None}


def test_the_local_zone(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    assert local_zone(None, link) is None
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert local_zone(None, link) == "Europe/Berlin"
    assert local_zone(":Asia/Tokyo", link) == "Asia/Tokyo"
    assert local_zone("CET-1CEST", link) is None


def test_file_with_and_without_a_line(tmp_path: Path) -> None:
    odd = tmp_path / "a.py:3"
    odd.write_text("odd\n")
    assert read_file(str(odd)) == {"path": str(odd), "text": "odd\n"}
    assert read_file(f"{odd}:7")["line"] == 7
    (tmp_path / "b.bin").write_bytes(b"\0\1")
    with pytest.raises(CliError, match="not a text file"):
        read_file(str(tmp_path / "b.bin"))
    with pytest.raises(CliError, match="count from 1"):
        read_file(f"{odd}:0")


def _block(number: int, outcome: str = "kept") -> dict[str, Any]:
    return {
        "id": f"history:{number}",
        "kind": "history",
        "priority": 3,
        "tokens": 10,
        "outcome": outcome,
        "reason": "x",
    }


def test_a_long_receipt_is_folded() -> None:
    out = StringIO()
    blocks = [
        {"id": "query", "kind": "query", "priority": 1, "tokens": 5, "outcome": "kept", "reason": "never trimmed"},
        *(_block(n) for n in range(40)),
        *(_block(n, "dropped") for n in range(40, 40 + MOST_ALIKE + 1)),
    ]
    context_table({"blocks": blocks}, "Context", out)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines[2][0] == "query"
    assert lines[3][0] == "history:0"
    assert lines[3 + MOST_ALIKE] == ["…", "28", "more", "of", "history", "3", "280", "kept", "x"]
    assert [line[0] for line in lines[4 + MOST_ALIKE :]] == [f"history:{40 + n}" for n in range(MOST_ALIKE + 1)]
