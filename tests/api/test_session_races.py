"""A session is deleted, and another one made under its name, while something of the first is still under way.

What belongs to the first must not reach the second: it may be of another workspace, and the first private.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.laboratory import eventually
from tests.fakes.providers import Hang, Reply
from tests.fakes.session_lab import Lab, session_lab, talk

SECRET = "the private word is xyzzy"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with session_lab(tmp_path) as made:
        yield made


async def replaced(lab: Lab) -> None:
    await lab.call("DELETE", "/s", 204)
    await lab.create("s", "open")


async def test_an_answer_of_the_first_is_not_stored_in_the_second(lab: Lab) -> None:
    await lab.create("s", "work")
    lab.local.script(Reply((SECRET, " again"), delay=0.3), model="small")
    chat = asyncio.create_task(lab.chat(SECRET))
    await eventually(lambda: bool(lab.local.chats))
    await replaced(lab)
    done = (await chat)[-1]
    assert any("not stored in the session" in warning for warning in done.data["warnings"])
    assert await lab.said() == []
    session = await lab.call("GET", "/s")
    assert (session["workspace"], session["private"], session["title"]) == ("open", False, None)


async def test_a_summary_of_the_first_is_not_put_into_the_second(lab: Lab) -> None:
    await lab.create("s", "work", messages=talk(60, 20))
    lab.local.script(Reply((SECRET,), delay=0.5), model="scribe")
    await lab.chat("hi")
    await eventually(lambda: bool(lab.requests("scribe")))
    await replaced(lab)
    await lab.settled()
    assert (await lab.call("GET", "/s"))["summary"] is None
    await lab.chat("hello")
    assert SECRET not in json.dumps(lab.asked())


async def test_a_captured_state_of_the_first_is_not_put_into_the_second(lab: Lab) -> None:
    await lab.create("s", "work", messages=talk(4))
    lab.local.script(Reply((json.dumps({"goal": SECRET}),), delay=0.5), model="scribe")
    capture = asyncio.create_task(lab.sidecar.http.post("/api/v1/sessions/s/state/capture"))
    await eventually(lambda: bool(lab.requests("scribe")))
    await replaced(lab)
    assert (await capture).status_code == 404
    assert await lab.call("GET", "/s/state") in (None, {})


async def test_deleting_while_a_summary_hangs_leaves_nothing_behind(lab: Lab) -> None:
    await lab.create("s", "work", messages=talk(60, 20))
    lab.local.script(Hang(), model="scribe")
    await lab.chat("hi")
    await eventually(lambda: bool(lab.requests("scribe")))
    await lab.call("DELETE", "/s", 204)
    await lab.sidecar.services.summaries.aclose()
    await lab.local.client_left()
    await eventually(lambda: list(lab.sidecar.services.router.slots.loads()) == [])
    for table in ("sessions", "session_messages", "session_summaries", "session_state"):
        assert lab.sidecar.rows(f"SELECT * FROM {table}") == []


async def test_a_session_says_nothing_to_another_of_its_workspace(lab: Lab) -> None:
    await lab.create("one", "open", messages=[{"role": "user", "content": SECRET}])
    await lab.create("two", "open")
    await lab.chat("what is the private word?", "two")
    assert SECRET not in json.dumps(lab.asked())
    response = await lab.sidecar.http.post(
        "/api/v1/chat", json={"query": "?", "session_id": "one", "workspace": "work"}
    )
    assert (response.status_code, response.json()["code"]) == (409, "session_workspace_mismatch")
