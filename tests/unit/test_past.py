"""What other sessions said: found by words and by meaning, never across workspaces, gone when its session is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from app.chat.past import MESSAGE_CHARACTERS, SCANNED, PastSessions
from app.chat.records import NewMessage
from app.chat.sessions import Sessions
from app.config.loader import Config
from app.memory.embedder import Embedder
from app.memory.model_files import default_folder
from app.store.database import Database
from tests.unit.ledger_rows import NOW
from tests.unit.test_sessions import configured, needs_model


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path / "config")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "sidecar.db", now=NOW)
    yield opened
    await opened.close()


def talk(*said: str) -> Sequence[NewMessage]:
    roles = ("user", "assistant")
    return [NewMessage({"role": roles[at % 2], "content": text}) for at, text in enumerate(said)]


MOON = ("How far is the moon?", "About 384,400 km.")
CACHE = ("Where is the prompt cache invalidated?", "In app/cache.py, in `invalidate_prompt`, after each edit.")


async def test_an_exchange_comes_back_whole(database: Database, config: Config) -> None:
    sessions = Sessions(database, lambda: config, lambda: NOW)
    await sessions.create(session_id="first", workspace="open", messages=talk(*MOON, *CACHE))
    past = PastSessions(database, None)
    (found,) = await past.search("open", "prompt cache invalidated", 4)
    assert (found.session_id, found.seq, found.private, found.similarity) == ("first", 2, False, None)
    assert found.text == f"user: {CACHE[0]}\nassistant: {CACHE[1]}"
    # Found by its answer's words it is the same exchange.
    (by_answer,) = await past.search("open", "invalidate_prompt", 4)
    assert by_answer.text == found.text
    assert await past.search("open", "prompt cache invalidated", 4, beside="first") == []
    await sessions.aclose()


async def test_no_workspace_sees_anothers_and_private_is_said(database: Database, config: Config) -> None:
    sessions = Sessions(database, lambda: config, lambda: NOW)
    await sessions.create(session_id="shut", workspace="work", messages=talk(*CACHE))
    past = PastSessions(database, None)
    assert await past.search("open", "prompt cache invalidated", 4) == []
    (found,) = await past.search("work", "prompt cache invalidated", 4)
    assert found.private
    await sessions.delete("shut")
    assert await past.search("work", "prompt cache invalidated", 4) == []
    await sessions.aclose()


async def test_a_common_word_is_no_reason(database: Database, config: Config) -> None:
    sessions = Sessions(database, lambda: config, lambda: NOW)
    await sessions.create(session_id="a", workspace="open", messages=talk(*MOON, *CACHE))
    past = PastSessions(database, None)
    for query in ("which moon orbits Jupiter fastest of all known satellites", "?!", "%' OR 1=1 --", "the of and"):
        assert await past.search("open", query, 4) == []
    await sessions.aclose()


async def test_answers_alone_tools_and_long_texts(database: Database, config: Config) -> None:
    sessions = Sessions(database, lambda: config, lambda: NOW)
    messages = [
        NewMessage({"role": "assistant", "content": "Welcome to the observatory."}),
        NewMessage({"role": "user", "content": "zirconium " * 400}),
        NewMessage({"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function":
                    {"name": "f", "arguments": "{}"}}]}),
        NewMessage({"role": "tool", "tool_call_id": "c", "content": "zirconium from a tool"}),
    ]  # fmt: skip
    await sessions.create(session_id="odd", workspace="open", messages=messages)
    past = PastSessions(database, None)
    (welcome,) = await past.search("open", "welcome observatory", 4)
    assert welcome.text.startswith("assistant: Welcome")
    (long,) = await past.search("open", "zirconium", 4)
    assert long.text.startswith("user: zirconium")
    assert len(long.text) <= MESSAGE_CHARACTERS + 20
    await sessions.aclose()


async def test_at_most_as_many_as_wanted_and_the_newest_are_looked_at(database: Database, config: Config) -> None:
    sessions = Sessions(database, lambda: config, lambda: NOW)
    turns = [text for n in range(30) for text in (f"What of quasar {n}?", f"It is quasar {n}.")]
    await sessions.create(session_id="many", workspace="open", messages=talk(*turns))
    past = PastSessions(database, None)
    found = await past.search("open", "quasar", 5)
    assert len(found) == 5
    assert len({one.seq for one in found}) == 5
    assert SCANNED >= 1_000
    await sessions.aclose()


@needs_model
async def test_by_meaning(database: Database, config: Config) -> None:
    embedder = Embedder(default_folder())
    sessions = Sessions(database, lambda: config, lambda: NOW, embedder)
    await sessions.create(session_id="first", workspace="open", messages=talk(*MOON, *CACHE))
    past = PastSessions(database, embedder)
    found = await past.search("open", "What is the distance to Earth's satellite?", 1)
    assert [one.text for one in found] == [f"user: {MOON[0]}\nassistant: {MOON[1]}"]
    assert found[0].similarity is not None
    assert found[0].similarity > 0.4
    assert await past.search("open", "How do I bake sourdough bread?", 3) == []
    await sessions.aclose()
    await embedder.aclose()
