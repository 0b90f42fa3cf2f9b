"""Latency sketches: counts of logarithmic bins, merged by adding, from which any percentile can be read.

The idea is DDSketch's (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019): with bins whose bounds grow by `GAMMA`, the middle of a value's bin is within `ERROR` of the
value, whatever the distribution. Nothing is ever collapsed here: from 1 ms to a day there are 460 bins. Since bins only
add up, a part of a sketch can be taken away again, which is how a local day is read from UTC days.

As stored a sketch is its non-empty bins in order, six bytes each: the bin (2) and its count (4), little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from math import ceil, log

ERROR = 0.02
"""A percentile read from a sketch is off by at most this share of itself; up to 25 ms it is exact."""
GAMMA = (1 + ERROR) / (1 - ERROR)
BINS = 1024
"""Bin numbers are below this; the last one takes everything from 10^17 ms on."""

_LOG_GAMMA = log(GAMMA)
_ENTRY = struct.Struct("<HI")
ENTRY_DTYPE = [("bin", "<u2"), ("count", "<u4")]
"""An entry, for numpy."""


@lru_cache(maxsize=65_536)
def bin_of(milliseconds: int) -> int:
    """The bin of a whole number of milliseconds; 0 is the bin of 0 and less."""
    if milliseconds <= 0:
        return 0
    return min(1 + ceil(log(milliseconds) / _LOG_GAMMA - 1e-9), BINS - 1)


def value_of(bin: int) -> int:
    """The whole milliseconds that stand for a bin."""
    return 0 if bin == 0 else round(2 * GAMMA ** (bin - 1) / (GAMMA + 1))


def encode(counts: Mapping[int, int]) -> bytes:
    """Bins and their counts (each below 2^32) as they are stored."""
    return b"".join(_ENTRY.pack(bin, counts[bin]) for bin in sorted(counts))


def decode(sketch: bytes) -> dict[int, int]:
    """The opposite of `encode`. Raises struct.error for bytes that are no sketch."""
    return dict(_ENTRY.iter_unpack(sketch))


def merge(one: bytes | None, other: bytes | None) -> bytes | None:
    """Both together; None is the empty sketch."""
    if not one or not other:
        return one or other
    if len(other) == _ENTRY.size:
        return _with(one, other)
    counts = decode(one)
    for bin, count in _ENTRY.iter_unpack(other):
        counts[bin] = counts.get(bin, 0) + count
    return encode(counts)


def _with(sketch: bytes, entry: bytes) -> bytes:
    """`sketch` and one entry more, in place: a request alone in its transaction does this for every bucket it is in."""
    bin, more = _ENTRY.unpack(entry)
    low, high = 0, len(sketch) // _ENTRY.size
    while low < high:
        middle = (low + high) // 2
        found, count = _ENTRY.unpack_from(sketch, middle * _ENTRY.size)
        if found == bin:
            at = middle * _ENTRY.size
            return sketch[:at] + _ENTRY.pack(bin, count + more) + sketch[at + _ENTRY.size :]
        low, high = (middle + 1, high) if found < bin else (low, middle)
    at = low * _ENTRY.size
    return sketch[:at] + entry + sketch[at:]
