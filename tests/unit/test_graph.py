"""The entity graph on real SQLite: merging in any order, privacy, provenance, hops on a dense graph."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, event, select

from app.config.schema import Profile
from app.errors import InvalidRequest, NotFound, UnknownWorkspace
from app.memory.embedder import Embedder
from app.memory.entities import EntityRef, NewEntity, NewRelation, Origin, Source, entity_id, normalised
from app.memory.graph import MAX_NEIGHBOURS, EntityGraph
from app.memory.graph_reads import FRONTIER, MAX_EDGES
from app.memory.graph_sums import summed
from app.memory.graph_writes import GraphWrite, forget, write
from app.memory.model_files import default_folder
from app.store.database import Database
from app.store.tables import entities, entity_names, entity_sightings, metadata
from tests.unit.test_sessions import needs_model

NOW = datetime(2026, 11, 26, 22, 0, tzinfo=UTC)
USER, AGENT = Origin(Source.USER), Origin(Source.AGENT, "digest")
PRIVATE = {"work"}


def profile(workspace: str | None) -> Profile:
    name = workspace or "open"
    if name not in ("open", "other", "work"):
        raise UnknownWorkspace(name)
    return Profile(id=name, block_cloud_apis=name in PRIVATE)


@pytest_asyncio.fixture
async def graph(tmp_path: Path) -> AsyncIterator[EntityGraph]:
    database = await Database.open(tmp_path / "data" / "sidecar.db", now=NOW)
    yield EntityGraph(database, profile, lambda: NOW)
    await database.close()


@contextmanager
def in_memory() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


TABLES = ("entities", "entity_names", "entity_sightings", "entity_terms", "entity_relations")


def rows_of(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {t: sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM {t}")), key=repr) for t in TABLES}


NAMES = st.sampled_from(
    ["Router", "router", "getUser", "GETUSER", "`Router`", "Retry Policy", "retry  policy", "JS", "JavaScript", "ES"]
)
ENTITIES = st.builds(
    NewEntity,
    name=NAMES,
    kind=st.sampled_from(["concept", "class"]),
    summary=st.none() | st.sampled_from(["decides", "asks", "waits"]),
    aliases=st.lists(NAMES, max_size=2),
    path=st.none() | st.sampled_from(["a.py", "b.py"]),
    line=st.none() | st.integers(1, 3),
    mentions=st.integers(1, 4),
)
ENDS = st.builds(EntityRef, NAMES, st.sampled_from(["concept", "class"]))
RELATIONS = st.builds(NewRelation, ENDS, ENDS, st.sampled_from(["uses", "imports"]), st.sampled_from([1.0, 2.0]))
WRITES = st.builds(
    GraphWrite,
    workspace=st.just("open"),
    origin=st.sampled_from([USER, AGENT, Origin(Source.CODE, "a.py"), Origin(Source.TEXT, "s1")]),
    private=st.booleans(),
    now=st.just("2026-11-26T22:00:00.000Z"),
    entities=st.lists(ENTITIES, max_size=3),
    relations=st.lists(RELATIONS, max_size=3),
)


def stored(writes: Sequence[GraphWrite]) -> dict[str, list[tuple[Any, ...]]]:
    with in_memory() as connection:
        for one in writes:
            write(connection, one)
        return rows_of(connection)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WRITES, min_size=1, max_size=5).flatmap(lambda w: st.tuples(st.just(w), st.permutations(w))))
def test_any_order_any_number_of_times_the_same_rows(
    given_writes: tuple[list[GraphWrite], Sequence[GraphWrite]],
) -> None:
    in_order, shuffled = given_writes
    assert stored([*shuffled, shuffled[0]]) == stored(in_order)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WRITES, min_size=1, max_size=6))
def test_when_all_origins_are_forgotten_nothing_is_left(writes: list[GraphWrite]) -> None:
    with in_memory() as connection:
        for one in writes:
            write(connection, one)
        forget(connection, "open", [one.origin.key for one in writes])
        assert rows_of(connection) == {table: [] for table in TABLES}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WRITES, min_size=1, max_size=6))
def test_an_entity_is_the_sum_of_its_sightings(writes: list[GraphWrite]) -> None:
    with in_memory() as connection:
        ids = [identity for one in writes for identity in write(connection, one).ids]
        homes = dict(map(tuple, connection.exec_driver_sql("SELECT id, entity_id FROM entity_names")))
        assert set(ids) <= set(homes)
        seen = connection.exec_driver_sql(
            "SELECT entity_id, sum(mentions), max(private), min(first_seen) FROM entity_sightings GROUP BY 1"
        )
        have = connection.exec_driver_sql("SELECT id, mentions, private, first_seen FROM entities")
        assert sorted(map(tuple, seen)) == sorted(map(tuple, have))
        least = connection.exec_driver_sql("SELECT entity_id, min(id) FROM entity_names GROUP BY 1")
        assert all(home == first for home, first in least)


ORIGINS = st.sampled_from([USER, Origin(Source.CODE, "a.py"), Origin(Source.CODE, "b.py"), Origin(Source.CODE, "c.py")])
MENTIONS = st.builds(NewEntity, name=NAMES, kind=st.just("concept"), mentions=st.integers(1, 4))
READINGS = st.builds(
    lambda origin, again, **of: GraphWrite("open", origin, forget=(origin.key,) if again else (), **of),
    origin=ORIGINS,
    again=st.booleans(),
    private=st.booleans(),
    now=st.integers(0, 9).map(lambda second: f"2026-11-26T22:00:0{second}.000Z"),
    entities=st.lists(MENTIONS | ENTITIES, max_size=3),
    relations=st.lists(RELATIONS, max_size=2),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(READINGS, min_size=1, max_size=8), st.booleans())
def test_files_read_again_and_again_leave_the_sums_of_all_sightings(writes: list[GraphWrite], in_time: bool) -> None:
    """Most sums are told from the ones before; they are those that reading every sighting would give."""
    if in_time:
        writes = [replace(one, now=f"2026-11-26T22:01:0{second}.000Z") for second, one in enumerate(writes)]
    hidden: set[str] = set()
    """Names of what was private before the write: with several it stays so."""
    with in_memory() as connection:
        for one in writes:
            write(connection, one)
            seen: dict[str, list[Any]] = {}
            for row in connection.execute(select(entity_sightings)):
                seen.setdefault(row.entity_id, []).append(row)
            have = {row.id: row._asdict() for row in connection.execute(select(entities))}
            assert have.keys() == seen.keys()
            homes = dict(connection.execute(select(entity_names.c.id, entity_names.c.entity_id)).tuples().all())
            for identity, rows in seen.items():
                names = {name for name, home in homes.items() if home == identity}
                wanted = summed(rows)
                wanted["private"] = wanted["private"] or (len(names) > 1 and not hidden.isdisjoint(names))
                assert {column: have[identity][column] for column in wanted} == wanted
            hidden = {name for name, home in homes.items() if have[home]["private"]}


@given(st.text(max_size=40))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert entity_id("w", "k", text) == entity_id("w", "k", f" {text}\t")


async def test_a_later_word_of_the_same_origin_replaces_an_earlier_one(tmp_path: Path) -> None:
    at = [NOW]
    database = await Database.open(tmp_path / "data" / "sidecar.db", now=NOW)
    graph = EntityGraph(database, profile, lambda: at[0])
    await graph.upsert("open", USER, [NewEntity("Router", summary="a long first description", path="a.py", line=1)])
    at[0] = NOW + timedelta(seconds=1)
    (identity,) = (await graph.upsert("open", USER, [NewEntity("router", summary="short", path="b.py", line=7)])).ids
    await graph.upsert("open", AGENT, [NewEntity("ROUTER", summary="what an agent thinks")])
    entity = (await graph.get(identity)).entity
    assert (entity.name, entity.summary, entity.path, entity.line) == ("router", "short", "b.py", 7)
    assert (entity.first_seen, entity.last_seen, entity.mentions) == (NOW, at[0], 2)
    await database.close()


async def test_a_file_that_goes_takes_along_what_only_it_defined(graph: EntityGraph) -> None:
    for path, others in (("a.py", ["only_a", "shared"]), ("b.py", ["shared"]), ("odd\udcff.py", ["odd"])):
        entities = [NewEntity(name, "function", path=path, line=1) for name in others]
        relations = [NewRelation(EntityRef(path, "file"), EntityRef(name, "function"), "defines") for name in others]
        await graph.upsert("open", Origin(Source.CODE, path), entities, relations)
    assert (await graph.stats("open")).kinds == {"file": 3, "function": 3}
    assert await graph.forget_files("open", ["a.py", "odd\udcff.py", "never.py"]) == 5
    stats = await graph.stats("open")
    assert (stats.kinds, stats.relations) == ({"file": 1, "function": 1}, 1)
    (shared,) = await graph.search("open", "shared", kinds=["function"])
    assert (shared.entity.path, shared.entity.mentions) == ("b.py", 1)
    assert await graph.forget_files("other", ["b.py"]) == 0
    assert (await graph.stats("open")).entities == 2


async def test_a_file_read_again_is_replaced(graph: EntityGraph) -> None:
    origin = Origin(Source.CODE, "a.py")
    before = [NewEntity("gone", "function", path="a.py", line=1), NewEntity("stays", "function", path="a.py", line=5)]
    await graph.upsert("open", origin, before, [NewRelation("gone", "stays", "calls")])
    await graph.upsert("open", origin, [NewEntity("stays", "function", path="a.py", line=2)], forget=[origin])
    (only,) = await graph.page("open")
    assert (only.name, only.line) == ("stays", 2)
    assert (await graph.stats("open")).relations == 0


async def test_what_was_private_stays_private(graph: EntityGraph) -> None:
    (identity,) = (await graph.upsert("work", USER, [NewEntity("zebra")])).ids
    try:
        PRIVATE.clear()  # the profile is changed
        await graph.upsert("work", AGENT, [NewEntity("zebra"), NewEntity("open one")])
        assert (await graph.get(identity)).entity.private
        assert not (await graph.search("work", "open one"))[0].private
        await graph.forget("work", [USER])
        assert not (await graph.get(identity)).entity.private
    finally:
        PRIVATE.add("work")
    await graph.upsert("open", Origin(Source.TEXT, "s1"), [NewEntity("from a private session")], private=True)
    assert [hit.private for hit in await graph.search("open", "private session")] == [True]


async def test_a_name_told_in_private_stays_private_when_who_told_it_is_forgotten(graph: EntityGraph) -> None:
    """Names have no origin: what an open entity is called in private would be shown with it."""
    session = Origin(Source.TEXT, "session:s")
    (plain, acme, bolt) = (
        await graph.upsert("open", USER, [NewEntity("Plain"), NewEntity("Acme"), NewEntity("Bolt")])
    ).ids
    told = [NewEntity("Plain"), NewEntity("Acme", aliases=["Project Zeus"])]
    await graph.upsert("open", session, told, private=True)
    await graph.forget("open", [session])
    assert not (await graph.get(plain)).entity.private
    assert (await graph.get(acme)).entity.private
    assert await graph.search("open", "Project Zeus", open_only=True) == []
    await graph.upsert("open", USER, [NewEntity("Bolt", aliases=["Acme"])])  # one with another, it takes that along
    assert (await graph.get(bolt)).entity.private


async def test_a_way_that_is_private_makes_what_it_leads_to_private(graph: EntityGraph) -> None:
    a, b, c = (await graph.upsert("open", USER, [NewEntity("a"), NewEntity("b"), NewEntity("c")])).ids
    await graph.upsert("open", AGENT, [], [NewRelation(a, b)], private=True)
    await graph.upsert("open", AGENT, [], [NewRelation(b, c)])
    near = await graph.neighbours("open", [a], hops=2)
    assert [(hit.entity.id, hit.hops, hit.private) for hit in near.found] == [(b, 1, True), (c, 2, True)]
    await graph.upsert("open", USER, [], [NewRelation(a, b)])
    near = await graph.neighbours("open", [a], hops=2)
    assert not any(hit.private for hit in near.found)


async def test_hops_are_bounded_on_a_dense_graph(graph: EntityGraph) -> None:
    hub, count = EntityRef("hub"), MAX_EDGES + 60
    rim = [EntityRef(f"rim {n}") for n in range(count)]
    await graph.upsert("open", USER, [], [NewRelation(hub, other) for other in rim])
    await graph.upsert("open", AGENT, [], [NewRelation(rim[n], rim[(n * 7 + 1) % count]) for n in range(count)])
    middle = entity_id("open", "concept", "hub")
    near = await graph.neighbours("open", [middle], hops=1, limit=MAX_NEIGHBOURS)
    assert (len(near.found), near.truncated) == (MAX_NEIGHBOURS, True)
    assert {hit.hops for hit in near.found} == {1}
    two = await graph.neighbours("open", [middle], hops=2, limit=50)
    assert len(two.found) == 50
    from_rim = await graph.neighbours("open", [entity_id("open", "concept", "rim 0")], hops=2, limit=MAX_NEIGHBOURS)
    assert {hit.hops for hit in from_rim.found} == {1, 2}
    assert len({hit.entity.id for hit in from_rim.found}) == len(from_rim.found) <= MAX_NEIGHBOURS
    seeds = [entity_id("open", "concept", other.name) for other in rim]
    many = await graph.neighbours("open", seeds[: FRONTIER * 3], hops=2, limit=MAX_NEIGHBOURS)
    assert not {hit.entity.id for hit in many.found} & set(seeds[: FRONTIER * 3])


async def test_words_and_parts_of_identifiers_find(graph: EntityGraph) -> None:
    await graph.upsert(
        "open",
        USER,
        [
            NewEntity("UsageLedger", "class", "Writes down what a request cost."),
            NewEntity("usage_ledger_row_writer_thread", "function"),
            NewEntity("ledger", "module"),
            NewEntity("Büroklammer"),
            NewEntity("it"),
        ],
    )

    async def found(query: str, **options: Any) -> list[str]:
        return [hit.entity.name for hit in await graph.search("open", query, **options)]

    assert (await found("usage ledger"))[0] == "UsageLedger"
    assert (await found("Ledger"))[0] == "ledger"
    assert await found("what does a request cost?") == ["UsageLedger"]
    assert await found("büroklammer") == ["Büroklammer"]
    assert await found("It") == ["it"]  # a name that is all stop words
    assert await found("ledger", kinds=["function"]) == ["usage_ledger_row_writer_thread"]
    assert await found("nothing of the kind") == await found("  ") == await found("%_'\" OR 1=1") == []
    assert len(await found("ledger", limit=1)) == 1


async def test_what_cannot_be_is_refused(graph: EntityGraph) -> None:
    with pytest.raises(NotFound):
        await graph.get("nothing")
    with pytest.raises(InvalidRequest):
        await graph.get("x' OR 1=1 --")
    with pytest.raises(InvalidRequest, match="names no entity"):
        await graph.upsert("open", USER, [NewEntity("kept out")], [NewRelation("kept out", "nobody")])
    assert await graph.page("open") == []  # all of it or nothing
    with pytest.raises(UnknownWorkspace):
        await graph.search("nobody", "x")
    for bad in (0, 3):
        with pytest.raises(InvalidRequest, match="hops"):
            await graph.neighbours("open", [], hops=bad)


async def test_deleting_leaves_nothing_behind(graph: EntityGraph, tmp_path: Path) -> None:
    a, b = (await graph.upsert("open", USER, [NewEntity("a", aliases=["α"]), NewEntity("b")],
                               [NewRelation("a", "b")])).ids  # fmt: skip
    await graph.delete(entity_id("open", "concept", "α"))
    with pytest.raises(NotFound):
        await graph.get(a)
    assert (await graph.neighbours("open", [b])).found == ()
    with pytest.raises(NotFound):
        await graph.delete(b, "other")
    assert await graph.clear("open") == 1
    with closing(sqlite3.connect(tmp_path / "data" / "sidecar.db")) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]
    assert counts == [0] * len(TABLES)


@needs_model
async def test_concepts_are_found_by_meaning_and_symbols_by_their_words(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "data" / "sidecar.db", now=NOW)
    embedder = Embedder(default_folder())
    graph = EntityGraph(database, profile, lambda: NOW, embedder)
    assert graph.vectors is not None
    concepts = [NewEntity("gradient checkpointing", summary="Trades compute for memory in training.")]
    await graph.upsert("open", USER, concepts)
    await graph.upsert("open", Origin(Source.CODE, "a.py"), [NewEntity("recompute_activations", "function")])
    await graph.upsert("other", USER, [NewEntity("saving RAM while a network learns")])
    await graph.vectors.embed_now("open")
    (found,) = await graph.search("open", "saving RAM while a neural network learns")
    assert found.entity.name == "gradient checkpointing"
    assert found.similarity is not None
    assert found.similarity > 0.35
    assert await graph.search("open", "saving RAM while a network learns", kinds=["function"]) == []
    # What is said of it changes, and its vector with it; what is forgotten is not found.
    await graph.upsert("open", Origin(Source.AGENT), [NewEntity("sourdough", summary="Bread from wild yeast.")])
    await graph.vectors.embed_now("open")
    assert [hit.entity.name for hit in await graph.search("open", "how to bake a loaf")] == ["sourdough"]
    await graph.forget("open", [Origin(Source.AGENT)])
    assert await graph.search("open", "how to bake a loaf") == []
    await graph.aclose()
    again = EntityGraph(database, profile, lambda: NOW, embedder)
    (found,) = await again.search("open", "saving RAM while a neural network learns")
    assert found.entity.name == "gradient checkpointing"
    await again.aclose()
    await embedder.aclose()
    await database.close()
