"""A build's log, cut to what tells why it broke: its head, what surrounds its errors, its tail. Pure, linear time."""

from __future__ import annotations

import re
from typing import Final

from app.config.redact import redact_patterns

MAX_CHARACTERS: Final = 6_000
"""Of a trimmed log: about 2,000 tokens."""
HEAD, TAIL, BEFORE, AFTER = 8, 30, 2, 6
"""Lines kept at the ends, and around an error."""
MAX_LINE: Final = 400
MOST_ERRORS: Final = 12
"""Errors whose surroundings are kept: the first ones, since the later ones often follow from them."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
"""CSI and OSC sequences and single-character escapes (ECMA-48)."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STAMP = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z ")
"""GitHub puts one before every line."""
_ERROR = re.compile(
    r"(?i)\b(?:error|failed|failure|fatal|panic|panicked|traceback|exception|assert(?:ion)?error|cannot find|not found"
    r"|undefined|segmentation fault|killed|timed out)\b"
)
_NO_ERROR = re.compile(r"(?i)\b(?:0|no) (?:errors?|failures?|failed)\b")


def plain(text: str) -> str:
    """Without colours, cursor moves and what a carriage return has overwritten; without anything that looks a key."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = line.rstrip("\r").rpartition("\r")[2]
        shown = _STAMP.sub("", _CONTROLS.sub("", _ESCAPES.sub("", shown))).rstrip()
        lines.append(shown if len(shown) <= MAX_LINE else f"{shown[:MAX_LINE]} […]")
    return redact_patterns("\n".join(lines)).strip("\n")


def trim(text: str, most: int = MAX_CHARACTERS) -> str:
    """The log in at most `most` characters, with `[… n lines left out]` where lines are missing."""
    lines = plain(text).split("\n")
    errors = [n for n, line in enumerate(lines) if _ERROR.search(line) and not _NO_ERROR.search(line)]
    kept = set(range(HEAD)) | set(range(max(0, len(lines) - TAIL), len(lines)))
    for number in errors[:MOST_ERRORS]:
        kept |= set(range(number - BEFORE, number + AFTER + 1))
    wanted = sorted(n for n in kept if 0 <= n < len(lines))
    return _joined(lines, _within(lines, wanted, errors, most))


def _within(lines: list[str], wanted: list[int], errors: list[int], most: int) -> list[int]:
    """As many of the wanted lines as there is room for: errors with what is near them first, then the end."""
    near = {n for error in errors[:MOST_ERRORS] for n in range(error - BEFORE, error + AFTER + 1)}
    ranked = sorted(wanted, key=lambda n: (n not in near, n if n in near else -n))
    room, chosen = most - 60, []
    for number in ranked:
        cost = len(lines[number]) + 1
        if cost <= room:
            room -= cost
            chosen.append(number)
    return sorted(chosen)


def _joined(lines: list[str], chosen: list[int]) -> str:
    parts: list[str] = []
    last = -1
    for number in chosen:
        if number > last + 1:
            parts.append(f"[… {number - last - 1} lines left out]")
        parts.append(lines[number])
        last = number
    if last + 1 < len(lines):
        parts.append(f"[… {len(lines) - last - 1} lines left out]")
    return "\n".join(parts)
