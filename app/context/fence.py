"""Fences: how a piece of someone else's text stands in a prompt so that nothing in it can end it."""

from __future__ import annotations

import re

_BACKTICKS = re.compile(r"`+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f`\u2028\u2029]+")
LABEL_CHARACTERS = 200


def fenced(label: str, text: str) -> str:
    """`label`, then `text` unchanged between two rows of backticks longer than any row inside it.

    No randomness: the same text is always fenced alike, so that a prompt's prefix stays what a cache knows.
    """
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0) if "```" in text else 2
    fence = "`" * max(3, longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"{one_line(label)}\n{fence}\n{text}{end}{fence}\n"


def one_line(text: str) -> str:
    """A name or path from outside as it may stand in a label: one line, no backticks, not long."""
    line = _UNPRINTABLE.sub(" ", text)
    return line if len(line) <= LABEL_CHARACTERS else line[: LABEL_CHARACTERS - 1] + "…"
