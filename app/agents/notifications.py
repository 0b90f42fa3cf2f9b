"""The inbox: what the sidecar wants to tell people, kept until it is read, and brought to them where they asked for it.

    post ── told within its cool-down? ──> nothing
      └──> row ──> live (SSE) ──> quiet hours? ── held until they end
                                       └──> webhook, desktop

A notification is stored and shown in the inbox whatever happens to its delivery; delivery runs beside the requests,
is tried a few times, and fails only into the log. What belongs to a private workspace goes to no webhook, ever: that is
decided by the workspace as it is when the notification is posted and again when it is sent.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from app.agents.base import Severity
from app.agents.delivery import Delivery
from app.agents.notification_rows import (
    Filter,
    Notification,
    Page,
    add,
    find_since,
    read_page,
    remove_archived,
    set_archived,
    set_read,
)
from app.config.loader import Config
from app.config.schema import Profile
from app.errors import NotFound
from app.store.database import Database, StoreUnavailable
from app.usage.alerts import BudgetAlert

log = logging.getLogger(__name__)

COOL_DOWN = timedelta(hours=1)
"""How long the same news (`dedupe_key`) is not told again, unless its sender says otherwise."""
_SEVERITIES: Mapping[str, Severity] = {"info": "info", "warning": "warning", "critical": "error"}


@dataclass(frozen=True, slots=True)
class News:
    """What somebody wants to tell. `links` are `{title, url}`; `about` says what it is about, for programs."""

    workspace: str
    kind: str
    title: str
    body: str = ""
    severity: Severity = "info"
    links: Sequence[Mapping[str, str]] = ()
    about: Mapping[str, Any] | None = None
    dedupe_key: str | None = None
    cool_down: timedelta = COOL_DOWN
    private: bool = False
    """True: it tells of something private, though its workspace may not be."""


class Inbox:
    """One per process, on one event loop. `publish` tells whoever watches at the moment."""

    def __init__(
        self,
        database: Database,
        config: Callable[[], Config],
        now: Callable[[], datetime],
        delivery: Delivery,
        publish: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._database = database
        self._config = config
        self._now = now
        self._delivery = delivery
        self._publish = publish
        self._tasks: set[asyncio.Task[None]] = set()
        self._newest = 0
        self._changed = asyncio.Condition()

    def alert(self, alert: BudgetAlert) -> None:
        """`AlertSink` of the budgets: stored and delivered beside whatever raised it."""
        news = News(
            alert.workspace,
            alert.kind,
            alert.title,
            alert.body,
            _SEVERITIES[alert.severity],
            about=alert.about,
            dedupe_key=alert.key,
            cool_down=timedelta(days=33),
            private=alert.private,
        )
        task = asyncio.create_task(self._post_quietly(news))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def post(self, news: News) -> str | None:
        """Store and deliver it. Its id; None where the same was told within its cool-down. Raises
        `StoreUnavailable`."""
        now = self._now()
        made = Notification(
            id=uuid.uuid4().hex,
            seq=0,
            workspace=news.workspace,
            private=news.private or self._config().is_private(news.workspace),
            kind=news.kind,
            severity=news.severity,
            title=news.title[:200],
            body=news.body[:4_000],
            links=tuple(dict(link) for link in news.links)[:20],
            about=dict(news.about or {}),
            dedupe_key=news.dedupe_key,
            created_at=now,
        )
        stored = await self._database.write(lambda connection: add(connection, made, now - news.cool_down))
        if stored is None:
            return None
        async with self._changed:
            self._newest = max(self._newest, stored.seq)
            self._changed.notify_all()
        self._publish("notification", data_of(stored))
        self._delivery.send(stored)
        return stored.id

    async def page(self, wanted: Filter) -> Page:
        """Newest first."""
        return await self._database.read(lambda connection: read_page(connection, wanted))

    async def mark(self, id: str, what: Literal["read", "archived"], workspace: str | None) -> Notification:
        """Note that it was read, or put it away. Raises `NotFound`, also for one of another workspace."""
        change = set_read if what == "read" else set_archived
        changed = await self._database.write(lambda connection: change(connection, id, workspace, self._now()))
        if changed is None:
            raise NotFound(f"there is no notification {id[:64]!r}", code="notification_not_found")
        return changed

    async def read_all(self, workspace: str | None) -> int:
        """Note that all of them were read; how many were not."""
        return await self._database.write(lambda connection: set_read(connection, None, workspace, self._now()))

    async def tidy(self, before: datetime) -> int:
        """Remove what was put away before then; how many went."""
        return await self._database.write(lambda connection: remove_archived(connection, before))

    async def newest(self) -> int:
        """The number of what was posted last; 0: nothing was."""
        return (await self._find(None, None))[1]

    async def since(self, seq: int, workspace: str | None) -> AsyncIterator[list[Notification]]:
        """Batches of what was posted after `seq`, without an end."""
        last = seq
        while True:
            found, after = await self._find(last, workspace)
            last = max(last, after)
            if found:
                yield found
            else:
                await self._posted_after(last)

    async def _find(self, seq: int | None, workspace: str | None) -> tuple[list[Notification], int]:
        return await self._database.read(lambda connection: find_since(connection, seq, workspace))

    async def _posted_after(self, seq: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._newest > seq)

    @property
    def delivery(self) -> Delivery:
        """How notifications leave the inbox, and what kept the last one from it."""
        return self._delivery

    async def delivered(self) -> None:
        """Returns when nothing waits to be stored or delivered."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await self._delivery.settled()

    async def aclose(self) -> None:
        """Store what was just raised; what waits to be delivered is left."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=1.0)
        await self._delivery.aclose()

    async def _post_quietly(self, news: News) -> None:
        try:
            await self.post(news)
        except StoreUnavailable as error:
            log.error("a notification could not be stored: %s", error.detail)


@dataclass(frozen=True, slots=True)
class AgentNotifications:
    """The notification service of one run."""

    inbox: Inbox
    agent: str
    profile: Profile
    run_id: str
    private: Callable[[], bool]
    """Whether the run has read something private by now."""

    async def notify(
        self,
        title: str,
        body: str = "",
        *,
        severity: Severity = "info",
        links: Sequence[Mapping[str, str]] = (),
        dedupe_key: str | None = None,
    ) -> str | None:
        """The notification's id; None where the same was told within its cool-down, or it cannot be stored now."""
        key = None if dedupe_key is None else f"agent:{self.profile.id}:{self.agent}:{dedupe_key}"
        about = {"agent": self.agent, "run_id": self.run_id}
        try:
            return await self.inbox.post(
                News(self.profile.id, "agent", title, body, severity, links, about, key, private=self.private())
            )
        except StoreUnavailable as error:
            log.error("a notification of %s could not be stored: %s", self.agent, error.detail)
            return None


def data_of(notification: Notification) -> dict[str, Any]:
    """As the API shows it."""
    found = asdict(replace(notification))
    for name in ("created_at", "read_at", "archived_at"):
        moment = found[name]
        found[name] = None if moment is None else moment.isoformat().replace("+00:00", "Z")
    del found["dedupe_key"]
    return found
