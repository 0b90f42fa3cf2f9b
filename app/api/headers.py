"""The headers that say who asks and what is sent."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope


class Headers:
    """The headers the door looks at, each with every value it was sent with."""

    __slots__ = ("_values",)
    _WANTED: Final = frozenset({
        b"host", b"origin", b"authorization", b"x-api-key", b"cookie", b"content-type", b"content-length",
        b"content-encoding",
        b"transfer-encoding", b"x-request-id", b"access-control-request-method", b"sec-fetch-site", b"sec-fetch-mode",
    })  # fmt: skip

    def __init__(self, scope: Scope) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in self._WANTED:
                self._values.setdefault(name, []).append(value)

    def all(self, name: bytes) -> list[bytes]:
        return self._values.get(name, [])

    def first(self, name: bytes) -> bytes | None:
        values = self._values.get(name)
        return values[0] if values else None
