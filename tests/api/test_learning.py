"""What is new in a workspace becomes entities: sessions and texts, the oldest first, gone with what they came from."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path_factory.mktemp("learning"),
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
        profiles=[{"id": name} for name in ("open", "files", "other", "late")]
        + [{"id": "work", "block_cloud_apis": True}],
    ) as running:
        yield running


async def session(sidecar: RunningSidecar, workspace: str, *said: tuple[int, str]) -> str:
    messages = [
        {"role": "user", "content": text, "created_at": (START + timedelta(days=day)).isoformat()} for day, text in said
    ]
    response = await sidecar.http.post("/api/v1/sessions", json={"workspace": workspace, "messages": messages})
    return str(response.json()["id"])


async def known(sidecar: RunningSidecar, workspace: str) -> dict[str, Any]:
    response = await sidecar.http.get("/api/v1/entities", params={"workspace": workspace, "limit": 200})
    return {entity["name"]: entity for entity in response.json()["entities"]}


async def test_sessions_the_oldest_first_and_only_what_is_new(sidecar: RunningSidecar) -> None:
    learning = sidecar.services.learning
    first = await session(sidecar, "open", (1, "Ada Lovelace saw a KeyError."), (9, "Later came Grace Hopper."))
    await session(sidecar, "open", (5, "Alan Turing saw a TypeError."))
    await session(sidecar, "work", (5, "Zelda Secret saw nothing."))
    learned = await learning.extract_new("open", START, limit=1)
    assert (learned.texts, learned.more, learned.until) == (1, True, START + timedelta(days=5))
    assert set(await known(sidecar, "open")) == {"Alan Turing", "TypeError"}
    learned = await learning.extract_new("open", START, limit=5)
    assert (learned.texts, learned.more) == (2, False)
    assert set(await known(sidecar, "open")) == {"Alan Turing", "TypeError", "Ada Lovelace", "KeyError", "Grace Hopper"}
    assert learned.until == START + timedelta(days=9)
    assert (await learning.extract_new("open", learned.until)).texts == 0
    # What is said next is added to what the session said before.
    await sidecar.http.post(
        f"/api/v1/sessions/{first}/messages",
        json={"messages": [{"role": "user", "content": "And Barbara Liskov.", "created_at": "2026-02-01T00:00:00Z"}]},
    )
    assert (await learning.extract_new("open", learned.until)).texts == 1
    assert {"Ada Lovelace", "Barbara Liskov"} <= set(await known(sidecar, "open"))
    assert (await sidecar.http.delete(f"/api/v1/sessions/{first}")).status_code == 204
    assert set(await known(sidecar, "open")) == {"Alan Turing", "TypeError"}


async def test_a_private_session_gives_private_entities(sidecar: RunningSidecar) -> None:
    await sidecar.services.learning.extract_new("work", START)
    found = await known(sidecar, "work")
    assert found["Zelda Secret"]["private"] is True
    assert "Zelda Secret" not in await known(sidecar, "other")


async def test_indexed_texts_come_and_go(sidecar: RunningSidecar, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes\n\nEdsger Dijkstra saw a ValueError.\n")
    (tmp_path / "code.py").write_text("def settle(): ...\n")
    body = {"path": str(tmp_path), "workspace": "files", "stream": False}
    assert (await sidecar.http.post("/api/v1/index", json=body)).status_code == 200
    learned = await sidecar.services.learning.extract_new("files", START)
    assert (learned.texts, learned.warnings) == (1, ())
    assert {"Edsger Dijkstra", "ValueError", "settle"} <= set(await known(sidecar, "files"))
    (tmp_path / "notes.md").unlink()
    assert (await sidecar.http.post("/api/v1/index", json=body)).status_code == 200
    left = set(await known(sidecar, "files"))
    assert "settle" in left
    assert "Edsger Dijkstra" not in left


async def test_texts_older_than_their_folder_are_read_once_it_is_indexed(
    sidecar: RunningSidecar, tmp_path: Path
) -> None:
    """Somebody's notes of last year, indexed today: they were older than what had been read, and never were."""
    for day, name in enumerate(("Ada Lovelace", "Grace Hopper", "Alan Turing")):
        (tmp_path / f"{day}.md").write_text(f"Here is {name}.")
        at = (START + timedelta(days=day)).timestamp()
        os.utime(tmp_path / f"{day}.md", (at, at))
    since = datetime.now(UTC)
    body = {"workspace": "late", "path": str(tmp_path), "stream": False}
    assert (await sidecar.http.post("/api/v1/index", json=body)).status_code == 200
    learning = sidecar.services.learning
    learned = await learning.extract_new("late", since, limit=2)
    assert (learned.texts, learned.more) == (2, True)
    learned = await learning.extract_new("late", learned.until, limit=2)
    assert (learned.texts, learned.more) == (1, False)
    assert {"Ada Lovelace", "Grace Hopper", "Alan Turing"} <= set(await known(sidecar, "late"))
    assert (await learning.extract_new("late", learned.until)).texts == 0
