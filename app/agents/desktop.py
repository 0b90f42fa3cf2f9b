"""Notifications on the desktop, where one answers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0


class Desktop:
    """The system's own notifications, through desktop-notifier, which is imported when it is first needed.

    Without a desktop (no session bus, no notification daemon) desktop-notifier logs a traceback and returns an id all
    the same; so it is asked for its capabilities first. Where it has none nobody is told, and nobody is asked again.
    """

    def __init__(self) -> None:
        self._notifier: Any = None
        self._absent = False
        self._asking = asyncio.Lock()

    async def show(self, title: str, body: str) -> bool:
        """Whether a desktop took it. Raises nothing."""
        try:
            async with self._asking, asyncio.timeout(ASK_SECONDS):
                if self._absent or not await self._there():
                    self._absent = True
                    return False
                await self._notifier.send(title=title, message=body)
                return True
        except Exception as error:
            self._absent = True
            log.info("no desktop takes notifications (%s); they are in the inbox", type(error).__name__)
            return False

    async def _there(self) -> bool:
        if self._notifier is None:
            kind = await asyncio.to_thread(_load)
            self._notifier = kind(app_name="llm-sidecar")
        return bool(await self._notifier.get_capabilities())


def _load() -> Any:
    from desktop_notifier import DesktopNotifier

    logging.getLogger("desktop_notifier").setLevel(logging.CRITICAL)
    return DesktopNotifier
