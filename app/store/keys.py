"""Keys of named clients: made once, kept as hashes, looked up in memory for every request.

A key is `sk-sidecar-<id>-<256 random bits>`. What is stored is its SHA-256: a fast hash is right for a secret that
nobody can guess (OWASP's slow ones are for passwords, which people choose). The id finds the row, the hashes are
compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from app.errors import Conflict, NotFound
from app.store.client_key import PREFIX, RIGHTS, ClientKey, Right
from app.store.database import Database
from app.store.tables import client_keys, from_text, to_text
from app.store.writer import StoreUnavailable

_SHAPE: Final = re.compile(rb"sk-sidecar-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")
USE_NOTED_EVERY: Final = timedelta(minutes=1)
"""`last_used_at` is this coarse: a key in use costs one small write a minute."""


class ClientKeys:
    """Every key. Reads are from memory: one sidecar owns its database. `now` gives the time in UTC."""

    def __init__(
        self, database: Database, now: Callable[[], datetime], rows: Iterable[tuple[ClientKey, bytes]]
    ) -> None:
        self._database = database
        self._now = now
        self._keys: dict[str, ClientKey] = {}
        self._hashes: dict[str, bytes] = {}
        for key, digest in rows:
            self._keys[key.id], self._hashes[key.id] = key, digest

    @classmethod
    async def open(cls, database: Database, now: Callable[[], datetime]) -> ClientKeys:
        return cls(database, now, await database.read(_read_all))

    def all(self) -> list[ClientKey]:
        """Oldest first, revoked ones too."""
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))

    def authenticate(self, offered: bytes) -> ClientKey | None:
        """The key that was offered, if there is such a one and it was not revoked; its use is noted."""
        shape = _SHAPE.fullmatch(offered)
        key_id = shape[1].decode() if shape else ""
        stored = self._hashes.get(key_id, bytes(32))
        if not hmac.compare_digest(hashlib.sha256(offered).digest(), stored):
            return None
        key = self._keys[key_id]
        return None if key.revoked_at is not None else self._used(key)

    async def create(
        self, name: str, *, workspace: str | None, rights: Iterable[Right], task_type: str | None = None
    ) -> tuple[ClientKey, str]:
        """A new key, and its text, which nobody can ask for again.

        Raises `Conflict` where a key of that name is in use, `StoreUnavailable` where it cannot be stored.
        """
        if any(key.name == name and key.revoked_at is None for key in self._keys.values()):
            raise Conflict(
                f"there is a key named `{name}` already; revoke it first, or choose another name", code="key_exists"
            )
        key_id = secrets.token_hex(6)
        text = f"{PREFIX.decode()}{key_id}-{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(text.encode()).digest()
        key = ClientKey(key_id, name, workspace, frozenset(rights), task_type, self._now())
        # In memory first, so that two of one name cannot both pass while the disk is waited for.
        self._keys[key_id] = key
        try:
            await self._database.write(lambda c: c.execute(insert(client_keys).values(_row(key, digest))))
        except BaseException:
            del self._keys[key_id]
            raise
        self._hashes[key_id] = digest
        return key, text

    async def revoke(self, key_id: str) -> ClientKey:
        """From this moment on it opens nothing. Again: no change. Raises `NotFound`, `StoreUnavailable`."""
        key = self._keys.get(key_id)
        if key is None:
            raise NotFound("there is no key with this id", code="key_not_found")
        if key.revoked_at is None:
            # In memory first: it must open nothing even where the disk refuses to remember that.
            key = self._keys[key_id] = replace(key, revoked_at=self._now())
        await self._set(key_id, durable=True, revoked_at=to_text(key.revoked_at or self._now()))
        return key

    def _used(self, key: ClientKey) -> ClientKey:
        now = self._now()
        if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
            return key
        noted = self._keys[key.id] = replace(key, last_used_at=now)
        with suppress(StoreUnavailable):  # when it was last used is worth no refusal
            self._database.write_soon(_setting(key.id, {"last_used_at": to_text(now)}), durable=False)
        return noted

    async def _set(self, key_id: str, *, durable: bool, **values: str) -> None:
        await self._database.write(_setting(key_id, values), durable=durable)


def _setting(key_id: str, values: Mapping[str, str]) -> Callable[[Connection], object]:
    return lambda c: c.execute(update(client_keys).where(client_keys.c.id == key_id).values(**values))


def _read_all(connection: Connection) -> list[tuple[ClientKey, bytes]]:
    rows = connection.execute(select(client_keys)).mappings()
    return [(_key(dict(row)), row["hash"]) for row in rows]


def _key(row: Mapping[str, Any]) -> ClientKey:
    known: frozenset[Right] = frozenset(right for right in RIGHTS if right in row["rights"].split(","))
    used, revoked = (from_text(row[name]) if row[name] else None for name in ("last_used_at", "revoked_at"))
    return ClientKey(
        row["id"], row["name"], row["workspace"], known, row["task_type"], from_text(row["created_at"]), used, revoked
    )


def _row(key: ClientKey, digest: bytes) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "workspace": key.workspace,
        "rights": ",".join(right for right in RIGHTS if right in key.rights),
        "task_type": key.task_type,
        "hash": digest,
        "created_at": to_text(key.created_at),
    }
