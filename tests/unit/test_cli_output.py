"""Numbers, tables and dates as the commands print them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.common import CliError
from app.cli.output import Column, dollars, milliseconds, number, plain_table, printable
from app.cli.request import read_file
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
