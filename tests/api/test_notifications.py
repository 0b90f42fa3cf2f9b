"""The inbox over real HTTP: pages, marks, the live stream, webhooks, quiet hours, privacy."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from app.agents.delivery import Delivery, quiet_until
from app.agents.desktop import Desktop
from app.agents.notification_rows import Notification
from app.agents.notifications import News
from app.config.schema import NotificationSettings, Profile
from app.errors import Unreachable
from app.usage.alerts import BudgetAlert
from tests.fakes.sidecar import RunningSidecar, running_sidecar

RULES = [{"name": "all", "conditions": {}, "model": "builtin/extractive"}]
MODELS = [{"id": "builtin/extractive", "context_window": 100_000}]
PROFILES: list[dict[str, Any]] = [{"id": "open"}, {"id": "work", "block_cloud_apis": True}]


@dataclass
class Hook:
    url: str = ""
    status: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    some: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    found = Hook()

    async def handler(request: web.Request) -> web.Response:
        found.got.append((dict(request.headers), await request.read()))
        found.some.set()
        return web.Response(status=found.status, headers={"Location": "http://169.254.169.254/"})

    app = web.Application()
    app.router.add_post("/hook", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield found
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sidecar(folder: Path, **settings: Any) -> AsyncIterator[RunningSidecar]:
    extra = {"notifications": {"desktop": False, **settings.pop("notifications", {})}}
    config = {"models": MODELS, "rules": RULES, "profiles": PROFILES, "profiles_extra": extra, **settings}
    async with running_sidecar(folder, **config) as running:
        yield running


async def get(running: RunningSidecar, path: str = "") -> dict[str, Any]:
    response = await running.http.get(f"/api/v1/notifications{path}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_pages_marks_and_workspaces(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as running:
        inbox = running.services.inbox
        ids = [await inbox.post(News("open" if n % 2 else "work", "test", f"number {n}")) for n in range(5)]
        page = await get(running, "?limit=2")
        assert [n["title"] for n in page["notifications"]] == ["number 4", "number 3"]
        rest = await get(running, f"?limit=9&cursor={page['next_cursor']}")
        assert [n["title"] for n in rest["notifications"]] == ["number 2", "number 1", "number 0"]
        assert rest["next_cursor"] is None
        assert len((await get(running, "?workspace=open"))["notifications"]) == 2

        first = (await running.http.post(f"/api/v1/notifications/{ids[0]}/read", json={})).json()
        again = (await running.http.post(f"/api/v1/notifications/{ids[0]}/read", json={})).json()
        assert first["read_at"] == again["read_at"] is not None
        put_away = (await running.http.post(f"/api/v1/notifications/{ids[1]}/archive", json={})).json()
        assert put_away["read_at"] == put_away["archived_at"] is not None
        page = await get(running, "?unread=true")
        assert (len(page["notifications"]), page["unread"]) == (3, 3)
        assert [n["id"] for n in (await get(running, "?archived=true"))["notifications"]] == [ids[1]]
        answer = (await running.http.post("/api/v1/notifications/read-all?workspace=open", json={})).json()
        assert answer == {"read": 1}
        missing = await running.http.post("/api/v1/notifications/nothing/read", json={})
        assert (missing.status_code, missing.json()["code"]) == (404, "notification_not_found")
        assert (await running.http.get("/api/v1/notifications?cursor=x")).status_code == 422


async def test_the_same_news_once_until_its_cool_down_is_over(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as running:
        news = News("open", "test", "again", dedupe_key="k")
        assert await running.services.inbox.post(news) is not None
        assert await running.services.inbox.post(news) is None
        late = News("open", "test", "again", dedupe_key="k", cool_down=timedelta(0))
        assert await running.services.inbox.post(late) is not None


async def test_the_stream_resumes(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as running:
        inbox = running.services.inbox
        await inbox.post(News("open", "test", "missed"))
        seq = (await get(running))["notifications"][0]["seq"]
        headers = {"Last-Event-ID": str(seq - 1)}
        async with running.http.stream("GET", "/api/v1/notifications/events", headers=headers) as stream:
            lines = stream.aiter_lines()
            found: list[tuple[str, str]] = []
            async for line in lines:
                if line.startswith("id:"):
                    number = line.partition(": ")[2]
                if line.startswith("data:"):
                    found.append((number, json.loads(line.partition(": ")[2])["title"]))
                    if len(found) == 1:
                        await inbox.post(News("open", "test", "live"))
                if len(found) == 2:
                    break
        assert found == [(str(seq), "missed"), (str(seq + 1), "live")]


async def test_a_reader_who_is_cut_off_knows_where_to_go_on(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as running:
        inbox = running.services.inbox
        await inbox.post(News("open", "test", "before"))
        text = ""
        async with running.http.stream("GET", "/api/v1/notifications/events") as stream:
            async for piece in stream.aiter_text():
                text += piece
                if "\nid: " in text and not running.services.shutting_down.is_set():
                    # Also one who has received nothing yet; and the end says the number to go on after, no other.
                    assert "id: 1\n\n" in text
                    running.services.shutting_down.set()
        assert "event: error" in text
        assert text.count("id: 1\n") == 2
        assert "id: 2" not in text


async def test_who_was_at_a_number_that_this_inbox_never_gave_is_told_everything(tmp_path: Path) -> None:
    """The database was set aside as damaged and begun anew: what that reader has seen was in another one."""
    async with sidecar(tmp_path) as running:
        await running.services.inbox.post(News("open", "test", "begun anew"))
        async with running.http.stream(
            "GET", "/api/v1/notifications/events", headers={"Last-Event-ID": "500"}, timeout=20
        ) as stream:
            lines = [line async for line in _until(stream.aiter_lines(), "data:")]
    assert "id: 0" in lines
    assert "begun anew" in lines[-1]


async def test_a_reader_who_has_all_of_an_inbox_that_was_tidied_is_told_nothing_again(tmp_path: Path) -> None:
    async with sidecar(tmp_path) as running:
        inbox = running.services.inbox
        await inbox.post(News("open", "test", "old"))
        await inbox.mark(str(await inbox.post(News("open", "test", "put away"))), "archived", None)
        assert await inbox.tidy(datetime.now(UTC) + timedelta(days=1)) == 1
        assert await inbox.newest() == 2
        async with running.http.stream(
            "GET", "/api/v1/notifications/events", headers={"Last-Event-ID": "2"}, timeout=20
        ) as stream:
            lines = stream.aiter_lines()
            assert "id: 2" in [line async for line in _until(lines, "id:")]
            await inbox.post(News("open", "test", "new"))
            assert "new" in [line async for line in _until(lines, "data:")][-1]


async def _until(lines: AsyncIterator[str], begins: str) -> AsyncIterator[str]:
    """Lines up to the first that begins so."""
    async for line in lines:
        yield line
        if line.startswith(begins):
            return


async def test_a_webhook_is_signed_and_tried_again_and_never_sent_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "a-secret-of-the-hook")
    async with hook() as server:
        server.status = 503
        settings = {"webhook": {"url": server.url, "secret_env": "HOOK_SECRET", "allow_local": ["127.0.0.1"]}}
        async with sidecar(tmp_path, notifications=settings) as running:
            await running.services.inbox.post(News("open", "test", "hello", about={"n": 1}))
            async with asyncio.timeout(20):
                await running.services.inbox.delivered()
            assert len(server.got) == 3
            headers, body = server.got[-1]
            expected = hmac.new(b"a-secret-of-the-hook", body, hashlib.sha256).hexdigest()
            assert headers["X-Sidecar-Signature"] == f"sha256={expected}"
            assert json.loads(body)["title"] == "hello"
            # Away, it costs nothing but itself: one alert in the inbox, and /health says what and what to do.
            inbox = (await running.http.get("/api/v1/notifications")).json()["notifications"]
            assert [kept["title"] for kept in inbox] == ["hello"]
            part = (await running.http.get("/api/v1/health")).json()["parts"]["notifications"]
            assert part["status"] == "degraded"
            assert "503" in part["reason"]
            assert part["remedy"]
            server.got.clear()
            server.status = 302
            await running.services.inbox.post(News("open", "test", "moved"))
            async with asyncio.timeout(20):
                await running.services.inbox.delivered()
            assert len(server.got) == 1


async def test_nothing_private_reaches_a_webhook(tmp_path: Path) -> None:
    async with hook() as server:
        settings = {"webhook": {"url": server.url, "allow_local": ["127.0.0.1"]}}
        async with sidecar(tmp_path, notifications=settings) as running:
            for workspace in ("work", "gone"):
                await running.services.inbox.post(News(workspace, "test", "private"))
            # A budget for all, or an agent's: its inbox is an open workspace's, and what it says is not.
            alert = BudgetAlert(
                "k", "budget_threshold", "info", "open", "agent merger: 50%", "$1 of $2", {}, private=True
            )
            running.services.inbox.alert(alert)
            await running.services.inbox.delivered()
            await running.services.inbox.post(News("open", "test", "public"))
            await running.services.inbox.delivered()
        assert [json.loads(body)["title"] for _, body in server.got] == ["public"]


async def test_a_webhook_inside_that_is_not_listed_is_never_called(tmp_path: Path) -> None:
    async with hook() as server, sidecar(tmp_path, notifications={"webhook": {"url": server.url}}) as running:
        await running.services.inbox.post(News("open", "test", "hello"))
        await running.services.inbox.delivered()
        assert not server.got
        assert (await get(running))["unread"] == 1


BERLIN = Profile(id="x", timezone="Europe/Berlin", quiet_hours="22:00-07:00")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-24T20:59:59", None),  # 21:59:59
        ("2026-11-24T21:00:00", "2026-11-25T06:00:00"),
        ("2026-11-25T05:59:59", "2026-11-25T06:00:00"),
        ("2026-11-25T06:00:00", None),
        ("2026-03-28T22:00:00", "2026-03-29T05:00:00"),  # the night in which an hour is left out
        ("2026-10-24T21:00:00", "2026-10-25T06:00:00"),  # the night in which one comes twice
    ],
)
def test_quiet_hours_end_when_the_persons_clock_says_so(now: str, until: str | None) -> None:
    end = quiet_until(BERLIN, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert end == (None if until is None else datetime.fromisoformat(until).replace(tzinfo=UTC))


def test_quiet_hours_that_end_in_the_hour_that_comes_twice_end_after_now() -> None:
    profile = Profile(id="x", timezone="Europe/Berlin", quiet_hours="22:00-02:30")
    second = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15, once more
    assert quiet_until(profile, second) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


async def test_a_delivery_that_is_tried_again_asks_whether_it_still_may() -> None:
    private = [False]
    sent: list[bytes] = []

    def config() -> Any:
        profile = Profile(id="open", block_cloud_apis=private[0])
        settings = NotificationSettings.model_validate({"webhook": {"url": "https://hooks.example/x"}})
        return SimpleNamespace(profiles=SimpleNamespace(notifications=settings), profile=lambda name: profile)

    class Away:
        async def request(self, *_: Any, body: bytes, **__: Any) -> Any:
            sent.append(body)
            raise Unreachable("away")

    async def sleep(seconds: float) -> None:
        private[0] = True  # somebody saves profiles.yaml in the pause

    async def secret(name: str) -> str | None:
        return None

    now = datetime.now(UTC)
    note = Notification("1", 1, "open", False, "agent", "info", "title", "body", (), {}, None, now)
    delivery = Delivery(cast(Any, config), lambda: now, sleep, cast(Any, Away()), secret)
    delivery.send(note)
    await delivery.settled()
    assert len(sent) == 1


async def test_quiet_hours_hold_the_delivery_and_not_the_inbox(tmp_path: Path) -> None:
    local = datetime.now(UTC)
    hours = f"{local:%H:%M}-{local + timedelta(hours=2):%H:%M}"
    profiles = [{"id": "open", "timezone": "UTC", "quiet_hours": hours}]
    async with hook() as server:
        settings = {"webhook": {"url": server.url, "allow_local": ["127.0.0.1"]}}
        async with sidecar(tmp_path, notifications=settings, profiles=profiles) as running:
            await running.services.inbox.post(News("open", "test", "later"))
            assert (await get(running))["unread"] == 1
            await asyncio.sleep(0.05)
            assert not server.got


async def test_without_a_desktop_nobody_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/at/all")
    desktop = Desktop()
    assert not await desktop.show("title", "body")
    assert not await desktop.show("title", "again")
