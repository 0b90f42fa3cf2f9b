"""Nothing that looks like a key, and no key that is known, leaves in a text."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from urllib.parse import quote

MASK = "[redacted]"
MIN_SECRET_LENGTH = 8
"""Shorter values are not replaced: they would blank ordinary words."""

_KEY_SHAPES = re.compile(
    r"""
      \b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}             # OpenAI, Anthropic, OpenRouter, DeepSeek
    | \b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{12,}
    | \bAIza[A-Za-z0-9_-]{20,}                      # Google
    | \b(?:gsk|xai|hf|nvapi|pplx|ghp|gho|ghs|ghu|github_pat)[_-][A-Za-z0-9_-]{16,}
    | \bAKIA[A-Z0-9]{16}\b                          # AWS
    | (?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*   # a JSON web token
    """,
    re.VERBOSE,
)
_AFTER_A_WORD = re.compile(
    r"""(?ix)
    ( \b(?:bearer|basic)\s+
    | (?:x-api-key|x-goog-api-key|api[-_]?key|authorization)["']?\s*[:=]\s*["']?
    | [?&](?:key|api_key|token|access_token)=
    )
    (?!bearer\b|basic\b|\[redacted\])
    [^\s"'&,;<>{}]{8,}
    """
)
_USER_INFO = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,15}://)[^\s/?#@]{1,256}@")


def redact_patterns(text: str) -> str:
    """`text` without what has the shape of a key: known prefixes, bearer tokens, `api_key=…`, `user:password@`."""
    text = _KEY_SHAPES.sub(MASK, text)
    text = _AFTER_A_WORD.sub(rf"\1{MASK}", text)
    return _USER_INFO.sub(rf"\1{MASK}@", text)


class Redactor:
    """Replaces every known secret, and what looks like one, with `[redacted]`. Safe to use from several threads."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._values: frozenset[str] = frozenset()
        self._known: re.Pattern[str] | None = None
        self.add(*values)

    def add(self, *values: str) -> None:
        """Make values known from now on. Those shorter than `MIN_SECRET_LENGTH` are ignored."""
        wanted = {form for value in values if len(value) >= MIN_SECRET_LENGTH for form in (value, quote(value, ""))}
        if wanted <= self._values:
            return
        with self._lock:
            self._values |= wanted
            # The longest first, so that a key that contains another one goes as a whole.
            ordered = sorted(self._values, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, ordered)))

    def redact(self, text: str) -> str:
        """`text` without secrets; unchanged where there are none."""
        known = self._known
        return redact_patterns(known.sub(MASK, text) if known else text)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"
