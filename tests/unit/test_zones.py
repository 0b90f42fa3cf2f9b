"""Offsets from UTC as pieces of a range: they agree with the zone at every moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.usage.zones import offset_pieces, offset_text
from tests.unit.usage_reports import ZONES


@given(st.sampled_from(ZONES), st.integers(0, 47 * 365 * 86_400), st.integers(0, 800 * 86_400))
def test_offset_pieces_agree_with_the_zone(name: str, since_1990: int, seconds: int) -> None:
    zone, start = ZoneInfo(name), datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=since_1990)
    end = start + timedelta(seconds=seconds)
    pieces = offset_pieces(zone, start, end)
    for share in range(21):
        moment = start + (end - start) * share / 20
        piece = next(p for p in pieces if p.until is None or moment < p.until)
        offset = moment.astimezone(zone).utcoffset()
        assert offset is not None
        assert offset.total_seconds() == piece.seconds
    for piece, following in pairwise(pieces):
        assert piece.until is not None
        last = piece.until - timedelta(seconds=1)
        before, after = (moment.astimezone(zone).utcoffset() for moment in (last, piece.until))
        assert (before, after) == (timedelta(seconds=piece.seconds), timedelta(seconds=following.seconds))


def test_offsets_as_text() -> None:
    assert [offset_text(seconds) for seconds in (0, 19_800, -12_600, -34)] == ["+00:00", "+05:30", "-03:30", "-00:00"]


@pytest.mark.parametrize("before", [0.001, 0.4, 1.0, 1.001, 1.999, 2.0, 3600.5])
@pytest.mark.parametrize("after", [0.001, 0.999, 1.0, 1.5, 7200.25])
def test_a_range_of_a_moment_about_a_clock_change_is_found(before: float, after: float) -> None:
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    start, end = change - timedelta(seconds=before), change + timedelta(seconds=after)
    first, last = offset_pieces(ZoneInfo("Europe/Berlin"), start, end)
    assert (first.until, first.seconds, last.until, last.seconds) == (change, 7200, None, 3600)
