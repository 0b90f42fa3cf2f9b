"""What a provider says when a prompt was too long, and how much smaller the next one must be. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

REBUILDS = 2
"""A provider that calls the prompt too long gets it again so often at most."""
SHRINK = 0.8
"""Each time in so much of the room it had, where the provider does not say what its limit is."""
MARGIN = 0.97
"""What is sent is rebuilt a little under what the provider says: its template's own tokens are not in our count."""
SMALLEST_SHRINK = 0.1
MOST_BY_OUR_COUNT = 4.0
"""A prompt that is said to be longer than so many times our count, or shorter than half of it, was not ours."""

_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d{2,9})"
_LIMIT = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI and those who speak like it; llama.cpp
        rf"(?:maximum|max|available) context (?:length|limit|size)(?: (?:is|of))?:? \(?{_NUMBER} tokens",
        rf"> {_NUMBER} maximum",  # Anthropic
        rf"maximum number of tokens allowed \(?{_NUMBER}",  # Gemini
        rf"context length of only {_NUMBER}|maximum (?:prompt|input) length is {_NUMBER}",  # LM Studio, xAI
        rf"while limit is {_NUMBER}",  # Cerebras
    )
)
_NEEDED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI; llama.cpp
        rf"(?:resulted in|requested about|you requested|request \() ?\(?{_NUMBER} (?:input )?tokens",
        rf"prompt is too long: {_NUMBER} tokens",  # Anthropic
        rf"input token count \({_NUMBER}\)",  # Gemini
        rf"current length is {_NUMBER}",  # Cerebras
    )
)
_EXCESS = re.compile(rf"exceeded max context length by {_NUMBER} tokens", re.IGNORECASE)  # Ollama


@dataclass(frozen=True, slots=True)
class Told:
    """Tokens as the provider counts them; None where it did not say."""

    limit: int | None = None
    needed: int | None = None
    excess: int | None = None


def told(text: str) -> Told:
    """The numbers in a provider's words."""
    found = _EXCESS.search(text)
    return Told(_first(_LIMIT, text), _first(_NEEDED, text), _value(found) if found else None)


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    return next((_value(found) for pattern in patterns if (found := pattern.search(text))), None)


def _value(found: re.Match[str]) -> int:
    return int(next(group for group in found.groups() if group).replace(",", ""))


def next_shrink(text: str, *, sent: int, window: int, reserved: int, shrink: float) -> float:
    """The share of the room for input that the next prompt may take.

    `sent` is our own count of the prompt that was too long, built with `shrink`. Where the provider says how long it
    was and how long it may be, the next one is sized by that, where that can be true and means less than was sent. Else
    it is four fifths.
    """
    room = max(1, window - reserved)
    target = _target(told(text), sent, reserved)
    if target is None or not 0 < target < sent:
        return shrink * SHRINK
    # `sent` may fill less than its room: what counts is the prompt, not the room it was given.
    return max(SMALLEST_SHRINK, min(shrink, target * MARGIN / room))


def _target(numbers: Told, sent: int, reserved: int) -> float | None:
    """Our tokens that the provider's limit amounts to."""
    limit, needed, excess = numbers.limit, numbers.needed, numbers.excess
    if excess is not None:
        return float(sent - excess)
    if limit is None:
        return None
    if needed is None:
        return float(max(limit - reserved, limit // 2))
    if not 0.5 <= needed / max(1, sent) <= MOST_BY_OUR_COUNT:
        return None
    # A provider that counts more than we do counts the shorter prompt so, too. Some count the answer's room with it.
    return sent * max(limit - reserved, limit / 2) / needed
