"""What a context is given where a service is not there: notifications go to the log, the world outside is closed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from app.agents.base import OutsideResponse, Severity
from app.errors import EgressBlocked

log = logging.getLogger(__name__)


class LoggedNotifications:
    """Tells the log and nobody else."""

    async def notify(
        self,
        title: str,
        body: str = "",
        *,
        severity: Severity = "info",
        links: Sequence[Mapping[str, str]] = (),
        dedupe_key: str | None = None,
    ) -> str | None:
        log.info("notification (%s): %s", severity, title)
        return None


class ClosedHttp:
    """Reaches nothing."""

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> OutsideResponse:
        raise EgressBlocked("this sidecar has no client for the world outside")
