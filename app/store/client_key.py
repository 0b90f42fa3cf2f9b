"""What there is to know of a client's key: all that the door needs, which is up before the database is imported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

Right: TypeAlias = Literal["chat", "usage", "admin"]
RIGHTS: Final[tuple[Right, ...]] = ("chat", "usage", "admin")
PREFIX: Final = b"sk-sidecar-"
"""What every key begins with, so that people, and the redactor, know one when they see it."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One client's key, without the key."""

    id: str
    name: str
    workspace: str | None
    """The only workspace it acts in; None: any."""
    rights: frozenset[Right]
    task_type: str | None
    """Of requests that name none."""
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
