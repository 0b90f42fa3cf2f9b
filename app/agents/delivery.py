"""Notifications brought to people outside the inbox: a webhook, the desktop. Beside requests, never in their way.

Quiet hours hold deliveries until they end, and nothing else. A delivery is tried `TRIES` times and then given up into
the log: the inbox has it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from app.agents.notification_rows import Notification
from app.config.loader import Config
from app.config.schema import Profile, WebhookSettings
from app.errors import EgressBlocked, SidecarError
from app.llm.egress import normal_host
from app.llm.outside import Outside, Reach

log = logging.getLogger(__name__)

TRIES = 3
PAUSES = (1.0, 5.0)
"""Seconds between tries."""
MOST_WAITING = 500
"""Deliveries that may be under way or held; what comes beyond stays in the inbox alone."""
_ANSWER_BYTES = 64 * 1024

ShowOnDesktop = Callable[[str, str], Awaitable[bool]]
"""(title, body) -> whether a desktop took it. Raises nothing."""


async def no_desktop(title: str, body: str) -> bool:
    return False


def quiet_until(profile: Profile | None, now: datetime) -> datetime | None:
    """When the quiet hours that `now` is in end, where the profile's person is; None outside of them."""
    if profile is None or profile.quiet_hours is None:
        return None
    start, end = (time.fromisoformat(part) for part in profile.quiet_hours.split("-"))
    zone = ZoneInfo(profile.timezone) if profile.timezone else None
    local = now.astimezone(zone)
    clock = local.time()
    inside = start <= clock < end if start < end else (clock >= start or clock < end)
    if not inside:
        return None
    day = local.date() + timedelta(days=1 if start > end and clock >= start else 0)
    naive = datetime.combine(day, end)
    # In the hour that comes twice the end may lie in its second half, too: it is never before `now`.
    ends = [naive.replace(tzinfo=zone, fold=fold).astimezone(now.tzinfo) for fold in (0, 1)]
    return next((end for end in ends if end > now), None)


@dataclass(slots=True)
class Delivery:
    """`secret` gives the value of an environment variable or keyring entry by its name; None where there is none."""

    config: Callable[[], Config]
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    outside: Outside
    secret: Callable[[str], Awaitable[str | None]]
    desktop: ShowOnDesktop = no_desktop

    problem: str | None = None
    """Why the webhook took nothing the last time; None where it did, or was never asked."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def waiting(self) -> int:
        """How many are under way or held by quiet hours."""
        return len(self._tasks)

    def send(self, notification: Notification) -> None:
        """Bring it to where it is wanted; returns at once."""
        settings = self.config().profiles.notifications
        if settings.webhook is None and not settings.desktop:
            return
        if len(self._tasks) >= MOST_WAITING:
            log.warning("too many deliveries wait: a notification stays in the inbox alone")
            return
        task = asyncio.create_task(self._deliver(notification))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Returns when nothing is under way or held."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def aclose(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, notification: Notification) -> None:
        try:
            while (until := quiet_until(self.config().profile(notification.workspace), self.now())) is not None:
                await self.sleep(min(60.0, max(0.01, (until - self.now()).total_seconds())))
            settings = self.config().profiles.notifications
            if settings.desktop:
                await self.desktop(notification.title, notification.body)
            if settings.webhook is not None and self._may_leave(notification):
                await self._post(settings.webhook, notification)
        except Exception:
            log.exception("a notification could not be delivered")

    def _may_leave(self, notification: Notification) -> bool:
        """Nothing of a workspace that is private, or was when this was posted, or is gone."""
        profile = self.config().profile(notification.workspace)
        return not notification.private and profile is not None and not profile.block_cloud_apis

    async def _post(self, webhook: WebhookSettings, notification: Notification) -> None:
        body = orjson.dumps(payload(notification))
        signature = await self._signature(webhook, body)
        if signature is None:
            return
        headers = {"Content-Type": "application/json", "X-Sidecar-Delivery": notification.id, **signature}
        local = frozenset(map(normal_host, webhook.allow_local))

        def reach() -> Reach:
            return Reach(local=local) if self._may_leave(notification) else Reach(public=False)

        problem = ""
        for number in range(TRIES):
            if number:
                await self.sleep(PAUSES[number - 1])
                if not self._may_leave(notification):  # the workspace became private in the pause
                    return
            try:
                answer = await self.outside.request(
                    "POST", webhook.url, reach, headers=headers, body=body, max_bytes=_ANSWER_BYTES
                )
            except EgressBlocked as error:
                if not self._may_leave(notification):  # while its host was looked up
                    return
                self.problem = error.detail
                log.error("the webhook is not called: %s", error.detail)
                return
            except SidecarError as error:
                problem = error.detail
                continue
            if answer.status < 300:
                self.problem = None
                return
            problem = f"it answered {answer.status}"
            if answer.status < 500 and answer.status not in (408, 429):
                break
        self.problem = problem
        log.warning("the webhook did not take a notification: %s", problem)

    async def _signature(self, webhook: WebhookSettings, body: bytes) -> dict[str, str] | None:
        """The header that signs this body, if any does; None where the key to sign with is not there."""
        if webhook.secret_env is None:
            return {}
        key = await self.secret(webhook.secret_env)
        if key is None:
            self.problem = f"{webhook.secret_env} is not set"
            log.error("the webhook is not called: %s is not set", webhook.secret_env)
            return None
        return {"X-Sidecar-Signature": f"sha256={hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}"}


def payload(notification: Notification) -> dict[str, Any]:
    """What a webhook is sent."""
    return {
        "id": notification.id,
        "workspace": notification.workspace,
        "kind": notification.kind,
        "severity": notification.severity,
        "title": notification.title,
        "body": notification.body,
        "links": list(notification.links),
        "about": notification.about,
        "created_at": notification.created_at.isoformat().replace("+00:00", "Z"),
    }
