"""Sessions on a real database: what is stored, in which order, and what the copy in memory follows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Connection, text

from app.chat.conversation import Conversation, ConversationCache
from app.chat.records import NewMessage, StateRecord, SummaryRecord
from app.chat.rows import LoadedRows
from app.chat.sessions import FOLLOWED_AT_ONCE, Sessions
from app.config.loader import Config, load
from app.errors import Conflict, InvalidRequest, NotFound
from app.memory.embedder import Embedder
from app.memory.model_files import default_folder
from app.store.database import Database
from tests.unit.ledger_rows import NOW

needs_model = pytest.mark.skipif(
    not Embedder(default_folder()).available, reason="the embedding model is not here: llm-sidecar models fetch"
)


def configured(folder: Path) -> Config:
    files = {
        "models.yaml": {"models": [{"id": "builtin/extractive"}]},
        "routing.yaml": {"rules": [{"name": "all", "conditions": {}, "model": "builtin/extractive"}]},
        "profiles.yaml": {
            "default_workspace": "open",
            "profiles": [{"id": "open"}, {"id": "work", "block_cloud_apis": True}],
        },
    }
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return load(folder, [])


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path / "config")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "sidecar.db", now=NOW)
    yield opened
    await opened.close()


@pytest.fixture
async def sessions(database: Database, config: Config) -> AsyncIterator[Sessions]:
    opened = Sessions(database, lambda: config, lambda: NOW)
    yield opened
    await opened.aclose()


def said(*texts: str, role: str = "user") -> list[NewMessage]:
    return [NewMessage({"role": role, "content": text}) for text in texts]


def contents(conversation: Conversation) -> list[Any]:
    return [stored.message["content"] for stored in conversation.messages]


async def fresh(database: Database, config: Config, session_id: str) -> Conversation:
    """The session as a program that starts now would read it."""
    other = Sessions(database, lambda: config, lambda: NOW)
    try:
        return await other.load(session_id)
    finally:
        await other.aclose()


def count_rows(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


async def test_sessions_do_not_share_their_counts(sessions: Sessions) -> None:
    await sessions.create(session_id="a", messages=said("1", "2", "3"))
    await sessions.create(session_id="b")
    assert (await sessions.append("b", said("x"))).first_seq == 0
    assert (await sessions.append("a", said("4"))).first_seq == 3
    counts = {s.id: s.message_count for s in (await sessions.page()).sessions}
    assert counts == {"a": 4, "b": 1}
    await sessions.delete("a")
    assert (await sessions.get("b"))[0].message_count == 1
    with pytest.raises(NotFound):
        await sessions.load("a")


async def test_changes_of_one_session_at_once_lose_nothing_and_keep_an_order(
    sessions: Sessions, database: Database, config: Config
) -> None:
    await sessions.create(session_id="s")
    await sessions.load("s")
    seqs = await asyncio.gather(*(sessions.remember("s", said(f"{i}a", f"{i}b")) for i in range(40)))
    assert sorted(seqs) == list(range(0, 80, 2))
    held, stored = await sessions.load("s"), await fresh(database, config, "s")
    assert contents(held) == contents(stored)
    assert held.session == stored.session
    assert [m.seq for m in held.messages] == list(range(80))


async def test_the_copy_in_memory_equals_what_is_stored(sessions: Sessions, database: Database, config: Config) -> None:
    """Whatever is done in whatever order, a restart would see the same."""
    await sessions.create(session_id="s", messages=said("first"))
    chance = random.Random(7)
    steps: Sequence[Any] = (
        lambda i: sessions.append("s", said(f"m{i}")),
        lambda i: sessions.remember("s", said(*(f"n{i}.{k}" for k in range(FOLLOWED_AT_ONCE + 1)))),
        lambda i: sessions.put_state("s", StateRecord({"goal": f"g{i}"}, NOW)),
        lambda i: sessions.put_summary("s", SummaryRecord(f"sum{i}", 0, i, "m", NOW)),
        lambda i: sessions.load("s"),
    )
    for i in range(30):
        await chance.choice(steps)(i)
        held, stored = await sessions.load("s"), await fresh(database, config, "s")
        assert (held.session, held.messages, held.state, held.summary) == (
            stored.session,
            stored.messages,
            stored.state,
            stored.summary,
        )


async def test_a_session_that_was_just_made_is_not_read_and_is_what_would_be_read(
    sessions: Sessions, database: Database, config: Config
) -> None:
    await sessions.create(session_id="s", workspace="work", title="T")
    held = await sessions.load("s")
    assert not database._readers._threads, "nobody has read anything yet"
    stored = await fresh(database, config, "s")
    assert (held.session, held.messages, held.state, held.summary) == (stored.session, [], None, None)
    await sessions.delete("s")
    with pytest.raises(NotFound):
        await sessions.load("s")
    with pytest.raises(Conflict):
        await asyncio.gather(sessions.create(session_id="t", workspace="open"), sessions.create(session_id="t"))
    assert (await sessions.load("t")).session.workspace == "open"


async def test_a_caller_that_leaves_loses_the_answer_and_not_the_change(
    sessions: Sessions, database: Database, config: Config
) -> None:
    await sessions.create(session_id="s")
    await sessions.load("s")
    task = asyncio.create_task(sessions.remember("s", said("kept")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sessions.remember("s", said("next"))
    assert contents(await sessions.load("s")) == contents(await fresh(database, config, "s")) == ["kept", "next"]


async def test_a_session_is_made_whole_or_not_at_all(sessions: Sessions, database: Database) -> None:
    await sessions.create(session_id="s", messages=said("mine"))
    with pytest.raises(Conflict):
        await sessions.create(session_id="s", messages=said("other"))
    assert contents(await sessions.load("s")) == ["mine"]
    broken = [*said("fine"), NewMessage({"role": None, "content": "x"})]
    with pytest.raises(Exception, match="NOT NULL"):
        await sessions.create(session_id="t", messages=broken)
    with pytest.raises(NotFound):
        await sessions.get("t")
    rows = await database.read(lambda c: c.execute(text("SELECT count(*) FROM session_messages")).scalar())
    assert rows == 1


async def test_deleting_takes_everything_with_it(sessions: Sessions, database: Database) -> None:
    await sessions.create(session_id="s", messages=said("x"))
    await sessions.put_state("s", StateRecord({"goal": "g"}, NOW))
    await sessions.put_summary("s", SummaryRecord("t", 0, 0, "m", NOW))
    await sessions.delete("s")
    for table in ("sessions", "session_messages", "session_state", "session_summaries"):
        assert await database.read(partial(count_rows, table=table)) == 0, table
    for late in (sessions.put_state("s", StateRecord({}, NOW)), sessions.remember("s", said("x"))):
        with pytest.raises(NotFound):
            await late


async def test_earlier_summaries_are_kept_and_the_widest_is_used(sessions: Sessions, database: Database) -> None:
    await sessions.create(session_id="s", messages=said("x"))
    for to_seq in (5, 9):
        await sessions.put_summary("s", SummaryRecord(f"to {to_seq}", 0, to_seq, "m", NOW))
    summary = (await sessions.get("s"))[1]
    assert summary is not None
    assert summary.text == "to 9"
    kept = await database.read(lambda c: c.execute(text("SELECT count(*) FROM session_summaries")).scalar())
    assert kept == 2


async def test_too_much_at_once_is_refused(sessions: Sessions) -> None:
    await sessions.create(session_id="s")
    with pytest.raises(InvalidRequest, match="at most"):
        await sessions.append("s", said(*["x"] * 5_001))


async def test_without_an_embedding_model_messages_are_found_by_their_words(sessions: Sessions) -> None:
    await sessions.create(session_id="s", messages=said("the router falls back", "bananas are yellow", "it rains"))
    conversation = await sessions.load("s")
    scores = await sessions.scores(conversation, "bananas?")
    assert max(range(3), key=lambda i: scores[i] or 0.0) == 1
    await sessions.remember("s", said("new"))
    assert (await sessions.scores(await sessions.load("s"), "bananas?"))[3] is None, "not indexed yet"
    sessions.index_soon("s")
    async with asyncio.timeout(5):
        while (await sessions.scores(await sessions.load("s"), "bananas?"))[3] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@needs_model
async def test_messages_stored_without_the_model_are_embedded_when_it_is_there(
    sessions: Sessions, database: Database, config: Config
) -> None:
    await sessions.create(
        session_id="s", messages=said("Our cat sleeps all day.", "The invoice is due on Monday.", " ")
    )
    embedder = Embedder(default_folder())
    later = Sessions(database, lambda: config, lambda: NOW, embedder)
    try:
        assert len((await later.load("s")).unembedded) == 3
        done = await later.append("s", said("The train leaves at nine."))
        assert done.searchable == "meaning and words"
        conversation = await later.load("s")
        assert (conversation.unembedded, conversation.indexed) == ([], 4)
        scores = await later.scores(conversation, "a pet that is tired")
        assert max(range(4), key=lambda i: scores[i] or 0.0) == 0, "by meaning: they share no word"
        reread = await fresh(database, config, "s")
        assert reread.unembedded == []
    finally:
        await later.aclose()
        await embedder.aclose()


async def test_bytes_that_are_no_vectors_are_made_again(sessions: Sessions, database: Database, config: Config) -> None:
    await sessions.create(session_id="s", messages=said("x", "y"))
    await database.write(lambda c: c.execute(text("UPDATE session_messages SET embedding = x'0102' WHERE seq = 1")))
    assert (await fresh(database, config, "s")).unembedded == [0, 1]


async def test_the_cache_is_bounded(sessions: Sessions) -> None:
    session = await sessions.create(session_id="s")
    loaded = LoadedRows(session, (), (), None, None)
    cache = ConversationCache(sessions=3, size=1_000)
    for name in "abcd":
        cache.put(name, Conversation(loaded))
    assert [cache.get(name) is not None for name in "abcd"] == [False, True, True, True]
    heavy = Conversation(loaded)
    heavy.weight = 2_000
    cache.put("e", heavy)
    assert len(cache) == 1
    assert cache.get("e") is heavy


async def test_the_latest_used_come_first(database: Database, config: Config) -> None:
    moments = iter(NOW + timedelta(minutes=i) for i in range(20))
    sessions = Sessions(database, lambda: config, lambda: next(moments))
    for name in "abc":
        await sessions.create(session_id=name, workspace="work" if name == "b" else "open")
    await sessions.remember("a", said("hi"))
    assert [s.id for s in (await sessions.page()).sessions] == ["a", "c", "b"]
    assert [s.id for s in (await sessions.page(workspace="open")).sessions] == ["a", "c"]
    first = await sessions.page(limit=2)
    second = await sessions.page(limit=2, cursor=first.next_cursor)
    assert ([s.id for s in second.sessions], second.next_cursor) == (["b"], None)
    await sessions.aclose()


@pytest.mark.parametrize("loaded", [False, True], ids=["", "in memory"])
@pytest.mark.parametrize("what", ["messages", "state"])
async def test_what_is_written_while_the_workspace_is_private_stays_private(
    database: Database, config: Config, what: str, loaded: bool
) -> None:
    current = config
    sessions = Sessions(database, lambda: current, lambda: NOW)
    await sessions.create(session_id="s")
    assert not (await sessions.get("s"))[0].private
    if loaded:
        await sessions.load("s")
    closed = tuple(replace_profile(p, True) for p in config.profiles.profiles)
    current = replace(config, profiles=config.profiles.model_copy(update={"profiles": closed}))
    if what == "messages":
        await sessions.remember("s", said("secret"))
    else:
        await sessions.put_state("s", StateRecord({"goal": "secret"}, NOW))
    current = config
    assert (await sessions.get("s"))[0].private
    assert (await sessions.load("s")).session.private
    await sessions.aclose()


def replace_profile(profile: Any, private: bool) -> Any:
    return profile.model_copy(update={"block_cloud_apis": private})
