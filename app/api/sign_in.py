"""How a browser gets in: a one-time code becomes a session cookie. The token itself never reaches the browser.

llm-sidecar dashboard ── POST /api/v1/dashboard/link (token) ── code, two minutes, once
browser               ── GET /dashboard/login?code=…          ── session cookie, HttpOnly, SameSite=Strict
                      ── GET / and what the page asks         ── the cookie, from the page's own origin only

Both are 256 random bits in this process's memory: they end with it, and no other instance takes them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

CODE_SECONDS: Final = 120.0
"""A browser's cold start fits in; a link found later in a history opens nothing."""
SESSION_SECONDS: Final = 12 * 3600.0
"""Without a request. A page that is open asks all the time."""
MOST_CODES: Final = 16
MOST_SESSIONS: Final = 16


@dataclass(slots=True)
class _Secrets:
    """Random values with an end each. Their digests are kept; every one is compared, so that time tells nothing."""

    seconds: float
    most: int
    monotonic: Callable[[], float]
    _ends: dict[bytes, float] = field(default_factory=dict)

    def issue(self) -> str:
        value = secrets.token_urlsafe(32)
        self._expire()
        while len(self._ends) >= self.most:
            del self._ends[next(iter(self._ends))]
        self._ends[_digest(value.encode())] = self.monotonic() + self.seconds
        return value

    def find(self, value: bytes) -> bytes | None:
        """The digest of one that is in force."""
        self._expire()
        offered = _digest(value)
        found = [known for known in self._ends if hmac.compare_digest(known, offered)]
        return found[0] if found else None

    def renew(self, known: bytes) -> None:
        """Put its end off, and itself behind the others: the one unused longest makes room."""
        self._ends.pop(known, None)
        self._ends[known] = self.monotonic() + self.seconds

    def end(self, known: bytes) -> None:
        self._ends.pop(known, None)

    def _expire(self) -> None:
        now = self.monotonic()
        for known in [k for k, end in self._ends.items() if end <= now]:
            del self._ends[known]


class SignIn:
    """The codes and sessions of one instance. Used on one event loop; nothing here waits."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._codes = _Secrets(CODE_SECONDS, MOST_CODES, monotonic)
        self._sessions = _Secrets(SESSION_SECONDS, MOST_SESSIONS, monotonic)

    def issue_code(self) -> str:
        """A code for one sign-in within `CODE_SECONDS`."""
        return self._codes.issue()

    def redeem(self, code: str) -> str | None:
        """A new session for a code that is in force, which ends by that; None for any other."""
        known = self._codes.find(code.encode("utf-8", "replace"))
        if known is None:
            return None
        self._codes.end(known)
        return self._sessions.issue()

    def holds(self, session: bytes) -> bool:
        """Whether this session is in force; asking keeps it so."""
        known = self._sessions.find(session)
        if known is not None:
            self._sessions.renew(known)
        return known is not None

    def sign_out(self, session: bytes) -> None:
        known = self._sessions.find(session)
        if known is not None:
            self._sessions.end(known)


def cookie_name(port: int | None) -> str:
    """With the port: cookies ignore it, and two sidecars on one machine must not sign each other out."""
    return f"sidecar_session_{port or 0}"


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
