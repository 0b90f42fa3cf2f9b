"""The inbox's part of the composition root: where notifications are kept, and by what they are brought to people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.agents.delivery import Delivery
from app.agents.desktop import Desktop
from app.agents.notifications import Inbox
from app.config.loader import Config
from app.config.secrets import Secrets
from app.llm.clock import Clock
from app.llm.outside import Outside
from app.store.database import Database


def open_inbox(
    database: Database,
    config: Callable[[], Config],
    clock: Clock,
    outside: Outside,
    secrets: Secrets,
    publish: Callable[[str, dict[str, Any]], None],
) -> Inbox:
    """Opens nothing outside: the webhook and the desktop are reached when there is something to tell."""
    delivery = Delivery(config, clock.now, clock.sleep, outside, secrets.aget, Desktop().show)
    return Inbox(database, config, clock.now, delivery, publish)
