"""Entities as SQL rows, written. Every function runs in the store's writer thread, inside its transaction.

A write only ever adds or removes *sightings* and relations; the rows of `entities` are then summed up again from them.
So whatever the order of two writes, and however often one is repeated, the same rows come of it. An entity's id is the
least of the ids of its names: two entities that an alias makes one keep the same id whichever was there first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert_into

from app.errors import InvalidRequest
from app.memory.entities import (
    MAX_MENTIONS,
    MAX_WEIGHT,
    SUMMARY_CHARACTERS,
    EntityRef,
    NewEntity,
    NewRelation,
    Origin,
    entity_id,
    normalised,
    shown,
    storable,
)
from app.memory.graph_sums import Change, portions, sum_up
from app.store.tables import entities, entity_names, entity_relations, entity_sightings, entity_terms

_E, _N, _S, _T, _R = entities.c, entity_names.c, entity_sightings.c, entity_terms.c, entity_relations.c

_LATER: Final = "excluded.last_seen > last_seen"
_SAME: Final = "excluded.last_seen = last_seen"
_LONGER: Final = "(length(excluded.name), excluded.name) > (length(name), name)"
_PLACE: Final = (
    f"excluded.path IS NOT NULL AND (path IS NULL OR {_LATER} OR ({_SAME} AND "
    "(excluded.path, coalesce(excluded.line, 0)) < (path, coalesce(line, 0))))"
)
_SEE = text(f"""
    INSERT INTO entity_sightings (entity_id, origin, workspace, source, name, summary, path, line, private, mentions,
                                  first_seen, last_seen)
    VALUES (:entity_id, :origin, :workspace, :source, :name, :summary, :path, :line, :private, :mentions,
            :first_seen, :last_seen)
    ON CONFLICT (entity_id, origin) DO UPDATE SET
      name = CASE WHEN {_LATER} OR ({_SAME} AND {_LONGER}) THEN excluded.name ELSE name END,
      summary = CASE WHEN excluded.summary IS NOT NULL AND (summary IS NULL OR {_LATER} OR ({_SAME} AND
                     (length(excluded.summary), excluded.summary) > (length(summary), summary)))
                THEN excluded.summary ELSE summary END,
      line = CASE WHEN {_PLACE} THEN excluded.line ELSE line END,
      path = CASE WHEN {_PLACE} THEN excluded.path ELSE path END,
      private = max(private, excluded.private),
      mentions = max(mentions, excluded.mentions),
      first_seen = min(first_seen, excluded.first_seen),
      last_seen = max(last_seen, excluded.last_seen)
""")
_CALL = text(f"""
    INSERT INTO entity_names (id, workspace, entity_id, name, normalised)
    VALUES (:id, :workspace, :entity_id, :name, :normalised)
    ON CONFLICT (id) DO UPDATE SET
      entity_id = excluded.entity_id,
      name = CASE WHEN {_LONGER} THEN excluded.name ELSE name END
    WHERE entity_id != excluded.entity_id OR {_LONGER}
""")
_RELATE = text("""
    INSERT INTO entity_relations (from_id, to_id, kind, origin, workspace, weight, private, last_seen)
    VALUES (:from_id, :to_id, :kind, :origin, :workspace, :weight, :private, :last_seen)
    ON CONFLICT (from_id, to_id, kind, origin) DO UPDATE SET
      weight = max(weight, excluded.weight),
      private = max(private, excluded.private),
      last_seen = max(last_seen, excluded.last_seen)
""")


@dataclass(frozen=True, slots=True)
class GraphWrite:
    """What one origin says. `forget`: keys of origins whose sightings and relations go first; `now` as it is stored."""

    workspace: str
    origin: Origin
    private: bool
    now: str
    entities: Sequence[NewEntity] = ()
    relations: Sequence[NewRelation] = ()
    forget: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """Ids of the entities given, in order, and how many relations were stored."""

    ids: tuple[str, ...]
    relations: int


def write(connection: Connection, given: GraphWrite) -> Written:
    """All of it or nothing. Raises `InvalidRequest` where a relation's end is a string that names nothing."""
    gone = _forget(connection, given.workspace, given.forget)
    ends = [end for relation in given.relations for end in (relation.start, relation.end)]
    mentioned = [*given.entities, *(NewEntity(end.name, end.kind) for end in ends if isinstance(end, EntityRef))]
    keys = [entity_id(given.workspace, entity.kind, entity.name) for entity in mentioned]
    homes, renamed, merged = _homes(connection, given, mentioned, keys)
    at_home = [homes[key] for key in keys]
    touched = {*gone, *renamed, *at_home}
    for said in _own(connection, given.origin, at_home):
        gone.setdefault(said.entity_id, []).append(said)
    if mentioned:
        connection.execute(_SEE, _sightings(given, mentioned, at_home))
    come = {said.entity_id: said for said in _own(connection, given.origin, at_home)}
    named = _Ends(connection, given, mentioned, at_home)
    related = [row for at, relation in enumerate(given.relations) if (row := named.row(at, relation)) is not None]
    if related:
        connection.execute(_RELATE, related)
    changes = {i: Change(gone.get(i, ()), come.get(i)) for i in touched if i not in merged}
    sum_up(connection, touched, renamed, changes)
    return Written(tuple(at_home[: len(given.entities)]), len(related))


def forget(connection: Connection, workspace: str, origins: Iterable[str]) -> int:
    """Everything these origins say goes; how many entities they spoke of."""
    touched = _forget(connection, workspace, origins)
    sum_up(connection, touched)
    return len(touched)


def remove(connection: Connection, identity: str, workspace: str | None) -> bool:
    """The entity with all its names, sightings and relations; False where the workspace has none of that id."""
    home = connection.execute(select(_N.entity_id, _N.workspace).where(_N.id == identity)).one_or_none()
    if home is None or workspace not in (None, home.workspace):
        return False
    return connection.execute(delete(entities).where(_E.id == home.entity_id)).rowcount > 0


def clear(connection: Connection, workspace: str) -> int:
    """All of a workspace's entities; how many there were."""
    return connection.execute(delete(entities).where(_E.workspace == workspace)).rowcount


def put_embeddings(connection: Connection, vectors: Mapping[str, tuple[str, bytes]]) -> list[str]:
    """By id: the text that was embedded (`embedded_text`) and its vector; not where the text has changed since.
    Returns the ids that have one now."""
    stored: list[str] = []
    for some in portions(vectors):
        for row in connection.execute(select(_E.id, _E.kind, _E.name, _E.summary).where(_E.id.in_(some))).all():
            words, vector = vectors[row.id]
            if embedded_text(row.kind, row.name, row.summary) == words:
                connection.execute(update(entities).where(_E.id == row.id).values(embedding=vector))
                stored.append(row.id)
    return stored


def embedded_text(kind: str, name: str, summary: str | None) -> str:
    """What of an entity the embedding model reads."""
    return f"{name} ({kind})" if summary is None else f"{name} ({kind}): {summary}"


# -- which entity a name belongs to


def _homes(
    connection: Connection, given: GraphWrite, mentioned: Sequence[NewEntity], keys: Sequence[str]
) -> tuple[dict[str, str], set[str], set[str]]:
    """The entity of every key, the ids of entities that may have got a name, and of those that took in another."""
    names: dict[str, str] = {}
    groups: list[list[str]] = []
    for entity, key in zip(mentioned, keys, strict=True):
        group = [key, *(entity_id(given.workspace, entity.kind, alias) for alias in entity.aliases)]
        for name_id, name in zip(group, (entity.name, *entity.aliases), strict=True):
            names[name_id] = max(names.get(name_id, ""), shown(name), key=lambda n: (len(n), n))
        groups.append(group)
    stored = _known(connection, names)
    known = {key: home for key, (home, _) in stored.items()}
    homes = _components(groups, known)
    kinds = {key: entity.kind for entity, key in zip(mentioned, keys, strict=True)}
    fresh = {homes[key]: kind for key, kind in kinds.items()}
    placeholder = {
        "workspace": given.workspace, "name": "", "source": given.origin.source.value, "private": given.private,
        "mentions": 0, "first_seen": given.now, "last_seen": given.now,
    }  # fmt: skip
    if fresh:
        made = [{"id": home, "kind": kind, **placeholder} for home, kind in fresh.items()]
        connection.execute(upsert_into(entities).on_conflict_do_nothing(), made)
    moved = {old: homes[old] for old in set(known.values()) if homes.get(old, old) != old}
    for old, new in moved.items():
        _move(connection, old, new)
    if names:
        own = {"workspace": given.workspace}
        rows = [
            {"id": key, "entity_id": homes[key], "name": name, "normalised": normalised(name), **own}
            for key, name in names.items()
        ]
        connection.execute(_CALL, rows)
    before = {key: name for key, (_, name) in stored.items()}
    renamed = {
        homes[k] for k, name in names.items() if k not in before or (len(name), name) > (len(before[k]), before[k])
    }
    return homes, renamed | set(moved.values()), set(moved.values())


def _known(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The entity of each name that is stored, and how the name is written there."""
    found: dict[str, tuple[str, str]] = {}
    for some in portions(ids):
        rows = connection.execute(select(_N.id, _N.entity_id, _N.name).where(_N.id.in_(some)))
        found |= {identity: (home, name) for identity, home, name in rows.tuples()}
    return found


def _components(groups: Iterable[Sequence[str]], known: Mapping[str, str]) -> dict[str, str]:
    """The least id of all that are one by a group or by what is known (union-find)."""
    parents: dict[str, str] = {}

    def root(node: str) -> str:
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = parents[parent]
            node = parent
        return node

    def join(one: str, other: str) -> None:
        low, high = sorted((root(one), root(other)))
        parents[high] = low

    for group in groups:
        for key in group:
            join(group[0], key)
            if (home := known.get(key)) is not None:
                join(key, home)
    return {node: root(node) for node in list(parents)}


def _move(connection: Connection, old: str, new: str) -> None:
    """Everything that was `old`'s is `new`'s; `old` goes."""
    connection.execute(update(entity_names).where(_N.entity_id == old).values(entity_id=new))
    seen = connection.execute(select(entity_sightings).where(_S.entity_id == old)).mappings().all()
    if seen:
        connection.execute(_SEE, [{**row, "entity_id": new} for row in seen])
    ends = (_R.from_id == old) | (_R.to_id == old)
    related = []
    for row in connection.execute(select(entity_relations).where(ends)).mappings():
        ids = {end: new if row[end] == old else row[end] for end in ("from_id", "to_id")}
        if ids["from_id"] != ids["to_id"]:
            related.append({**row, **ids})
    if related:
        connection.execute(_RELATE, related)
    was_private = select(_E.id).where(_E.id == old, _E.private).exists()
    connection.execute(update(entities).where(_E.id == new, was_private).values(private=True))
    connection.execute(delete(entities).where(_E.id == old))


# -- what is stored


def _sightings(given: GraphWrite, mentioned: Sequence[NewEntity], homes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "entity_id": home,
            "origin": given.origin.key,
            "workspace": given.workspace,
            "source": given.origin.source.value,
            "name": shown(entity.name),
            "summary": _summary(entity.summary),
            "path": storable(entity.path) if entity.path else None,
            "line": entity.line if entity.path else None,
            "private": given.private,
            "mentions": min(max(entity.mentions, 1), MAX_MENTIONS),
            "first_seen": given.now,
            "last_seen": given.now,
        }
        for entity, home in zip(mentioned, homes, strict=True)
    ]


def _summary(summary: str | None) -> str | None:
    return (storable(summary).strip()[:SUMMARY_CHARACTERS] or None) if summary else None


class _Ends:
    """Ids of the ends of relations."""

    def __init__(
        self, connection: Connection, given: GraphWrite, mentioned: Sequence[NewEntity], homes: Sequence[str]
    ) -> None:
        self._connection = connection
        self._given = given
        self._of = {(e.kind, normalised(e.name)): home for e, home in zip(mentioned, homes, strict=True)}
        self._by_name: dict[str, str] = {}
        for entity, home in zip(given.entities, homes, strict=False):
            for name in (entity.name, *entity.aliases):
                self._by_name.setdefault(normalised(name), home)

    def row(self, at: int, relation: NewRelation) -> dict[str, Any] | None:
        """None for what relates a thing to itself."""
        start = self._id(relation.start, f"relations[{at}].from")
        end = self._id(relation.end, f"relations[{at}].to")
        if start == end:
            return None
        return {
            "from_id": start,
            "to_id": end,
            "kind": relation.kind,
            "origin": self._given.origin.key,
            "workspace": self._given.workspace,
            "weight": min(relation.weight, MAX_WEIGHT),
            "private": self._given.private,
            "last_seen": self._given.now,
        }

    def _id(self, end: EntityRef | str, where: str) -> str:
        if isinstance(end, EntityRef):
            return self._of[end.kind, normalised(end.name)]
        name = normalised(end)
        if (home := self._by_name.get(name)) is None:
            home = self._by_name[name] = self._stored(end, name, where)
        return home

    def _stored(self, given: str, name: str, where: str) -> str:
        mine = _N.workspace == self._given.workspace
        by_id = self._connection.execute(select(_N.entity_id).where(_N.id == given, mine)).scalar()
        if by_id is not None:
            return str(by_id)
        named = select(_E.id).join(entity_names, _N.entity_id == _E.id).where(mine, _N.normalised == name)
        found = self._connection.execute(named.order_by(_E.mentions.desc(), _E.id).limit(1)).scalar()
        if found is None:
            raise InvalidRequest(
                "names no entity of this request, nor one the workspace has; give it as {name, kind} to make it",
                field=where,
            )
        return str(found)


def _own(connection: Connection, origin: Origin, ids: Iterable[str]) -> list[Row[Any]]:
    """What this origin says of these entities."""
    rows: list[Row[Any]] = []
    for some in portions(sorted(set(ids))):
        mine = _S.entity_id.in_(some) & (_S.origin == origin.key)
        rows += connection.execute(select(entity_sightings).where(mine)).all()
    return rows


def _forget(connection: Connection, workspace: str, origins: Iterable[str]) -> dict[str, list[Row[Any]]]:
    """The sightings that went, by entity."""
    gone: dict[str, list[Row[Any]]] = {}
    for some in portions(origins):
        theirs = (_S.workspace == workspace) & _S.origin.in_(some)
        for row in connection.execute(select(entity_sightings).where(theirs)):
            gone.setdefault(row.entity_id, []).append(row)
        connection.execute(delete(entity_sightings).where(theirs))
        connection.execute(delete(entity_relations).where(_R.workspace == workspace, _R.origin.in_(some)))
    return gone
