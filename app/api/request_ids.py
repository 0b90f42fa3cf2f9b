"""Ids of requests: the client's own where it may be had, so that its log and ours meet."""

from __future__ import annotations

import re
import secrets
from typing import Final

from app.api.headers import Headers

_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
_AN_AGENTS: Final = re.compile(rb"[0-9a-f]{32}\..*")
"""Those of an agent's requests begin with their run's, and what the run cost is read off them."""


class RequestIds:
    """Gives each request its id.

    A client that sends one id with many requests would have them share a receipt and be counted as one; from the second
    on the id has a tail. The last 10,000 of them are remembered, and only what can cost something counts as use; of
    older ones the ledger knows (`DoorPolicy.used`).
    """

    _REMEMBERED: Final = 10_000

    def __init__(self) -> None:
        self._used: dict[bytes, None] = {}

    def take(self, headers: Headers, method: str) -> str:
        wanted = headers.first(b"x-request-id")
        if wanted is None or not _WELL_FORMED.fullmatch(wanted) or _AN_AGENTS.fullmatch(wanted):
            return secrets.token_hex(16)
        if method != "POST":
            return wanted.decode()
        if wanted in self._used:
            return self.with_tail(wanted.decode())
        self._used[wanted] = None
        if len(self._used) > self._REMEMBERED:
            del self._used[next(iter(self._used))]
        return wanted.decode()

    @staticmethod
    def with_tail(wanted: str) -> str:
        return f"{wanted[:111]}.{secrets.token_hex(8)}"
