"""Entities as SQL rows, read. Every function runs in a reader's thread, in one snapshot, within one workspace.

`open_only`: without what was told in private, in the order of what is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, text, tuple_

from app.memory.entities import (
    Entity,
    EntityDetail,
    Found,
    GraphStats,
    Neighbourhood,
    Relation,
    Sighting,
    Source,
    normalised,
)
from app.memory.graph_sums import portions
from app.memory.searchable import query_terms
from app.store.tables import entities, entity_names, entity_relations, entity_sightings, entity_terms, from_text

_E, _N, _S, _T, _R = entities.c, entity_names.c, entity_sightings.c, entity_terms.c, entity_relations.c

QUERY_TERMS: Final = 32
MAX_POSTINGS: Final = 20_000
"""Rows of `entity_terms` read for one query: its rarest words go first, words that nearly everything has stay out."""
EXACT_SCORE: Final = 100.0
"""Far above what words add up to: who types a name means that name."""
MAX_EDGES: Final = 500
"""Relations read on each side of one entity; a hub with more says little about any one of its neighbours."""
FRONTIER: Final = 40
"""Entities whose own neighbours are looked for, at each hop: the nearest by weight."""
_LONGEST_NAME: Final = 256
_SIDES: Final = tuple(
    f"SELECT from_id, to_id, kind, weight, private FROM entity_relations "
    f"WHERE {side} = ? AND workspace = ? AND private <= ? LIMIT ?"
    for side in ("from_id", "to_id")
)
"""Run a hundred times for one answer: as text, which costs a quarter of a statement that is put together."""
_COLUMNS = (_E.id, _E.workspace, _E.kind, _E.name, _E.summary, _E.source, _E.path, _E.line, _E.private, _E.mentions,
            _E.first_seen, _E.last_seen)  # fmt: skip


def page(
    connection: Connection,
    workspace: str,
    kinds: Sequence[str],
    limit: int,
    before: tuple[int, str] | None,
    open_only: bool = False,
) -> list[Entity]:
    """The most mentioned first. `before`: (mentions, id) of the last one of the page before."""
    query = select(*_COLUMNS).where(_E.workspace == workspace).order_by(_E.mentions.desc(), _E.id.desc()).limit(limit)
    if kinds:
        query = query.where(_E.kind.in_(kinds))
    if before is not None:
        query = query.where(tuple_(_E.mentions, _E.id) < before)
    if open_only:
        query = query.where(_E.private.is_(False))
    return [_entity(row) for row in connection.execute(query)]


def by_words(
    connection: Connection, workspace: str, query: str, kinds: Sequence[str], limit: int, open_only: bool = False
) -> dict[str, float]:
    """By id, at most `limit`: 1 for who shares the most and rarest words with the query, less for the others, and
    `EXACT_SCORE` more for who is called so."""
    scores = _by_terms(connection, workspace, query, limit if not kinds else 20 * limit, open_only)
    most = max(scores.values(), default=1.0)
    scores = {identity: score / most for identity, score in scores.items()}
    for identity in _called(connection, workspace, query):
        scores[identity] = scores.get(identity, 0.0) + EXACT_SCORE
    if open_only:
        scores = {i: scores[i] for i in scores.keys() & fetch(connection, workspace, scores, open_only=True).keys()}
    if kinds:
        scores = {i: scores[i] for i in _of_kinds(connection, list(scores), kinds)}
    return dict(sorted(scores.items(), key=lambda found: (-found[1], found[0]))[:limit])


def _called(connection: Connection, workspace: str, query: str) -> list[str]:
    name = normalised(query[: 2 * _LONGEST_NAME])
    if not name or len(name) > _LONGEST_NAME:
        return []
    found = select(_N.entity_id).where(_N.workspace == workspace, _N.normalised == name).limit(100)
    return list(connection.execute(found).scalars())


def _of_kinds(connection: Connection, ids: Sequence[str], kinds: Sequence[str]) -> list[str]:
    found: list[str] = []
    for some in portions(ids):
        found += connection.execute(select(_E.id).where(_E.id.in_(some), _E.kind.in_(kinds))).scalars()
    return found


def _by_terms(
    connection: Connection, workspace: str, query: str, limit: int, open_only: bool = False
) -> dict[str, float]:
    wanted = query_terms(query, QUERY_TERMS)
    if not wanted:
        return {}
    counting = select(_T.term, func.count()).where(_T.workspace == workspace, _T.term.in_(wanted)).group_by(_T.term)
    holding = {term: int(count) for term, count in connection.execute(counting).tuples()}
    total = connection.execute(select(func.count()).where(_E.workspace == workspace)).scalar_one()
    weights: dict[str, float] = {}
    read = 0
    for term in sorted(holding, key=lambda term: (holding[term], term)):
        read += holding[term]
        if read > MAX_POSTINGS and weights:
            break
        weights[term] = math.log(1 + (total - holding[term] + 0.5) / (holding[term] + 0.5))
    if not weights:
        return {}
    values = ", ".join(f"(:t{at}, :w{at})" for at in range(len(weights)))
    statement = text(
        f"WITH q(term, weight) AS (VALUES {values}) "
        "SELECT t.entity_id, sum(t.weight * q.weight) AS score FROM q "
        "CROSS JOIN entity_terms AS t ON t.workspace = :workspace AND t.term = q.term "
        f"{'JOIN entities AS e ON e.id = t.entity_id AND NOT e.private ' if open_only else ''}"
        "GROUP BY t.entity_id ORDER BY score DESC, t.entity_id LIMIT :limit"
    )
    given: dict[str, Any] = {"workspace": workspace, "limit": limit}
    for at, (term, weight) in enumerate(weights.items()):
        given |= {f"t{at}": term, f"w{at}": weight}
    return dict(connection.execute(statement, given).tuples().all())


def fetch(connection: Connection, workspace: str, ids: Iterable[str], open_only: bool = False) -> dict[str, Entity]:
    """Those of the ids that the workspace has."""
    found: dict[str, Entity] = {}
    for some in portions(ids):
        query = select(*_COLUMNS).where(_E.workspace == workspace, _E.id.in_(some))
        rows = connection.execute(query.where(_E.private.is_(False)) if open_only else query)
        found |= {row.id: _entity(row) for row in rows}
    return found


def has_private(connection: Connection, workspace: str) -> bool:
    """An entity of which something was told in private, or a relation between open ones."""
    marked = (
        select(_E.id).where(_E.workspace == workspace, _E.private),
        select(_R.kind).where(_R.workspace == workspace, _R.private),
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in marked)


def home_of(connection: Connection, identity: str, workspace: str | None) -> tuple[str, str] | None:
    """(workspace, entity's id) of any id one of its names ever had; None where the workspace has no such entity."""
    row = connection.execute(select(_N.workspace, _N.entity_id).where(_N.id == identity)).one_or_none()
    if row is None or workspace not in (None, row.workspace):
        return None
    return row.workspace, row.entity_id


def detail(connection: Connection, workspace: str, identity: str, sightings: int) -> EntityDetail | None:
    entity = fetch(connection, workspace, [identity]).get(identity)
    if entity is None:
        return None
    names = connection.execute(select(_N.name).where(_N.entity_id == identity).order_by(_N.name)).scalars()
    aliases = tuple(name for name in names if normalised(name) != normalised(entity.name))
    seen = select(entity_sightings).where(_S.entity_id == identity).order_by(_S.last_seen.desc(), _S.origin)
    return EntityDetail(entity, aliases, tuple(_sighting(row) for row in connection.execute(seen.limit(sightings))))


def stats(connection: Connection, workspace: str) -> GraphStats:
    kinds = select(_E.kind, func.count()).where(_E.workspace == workspace).group_by(_E.kind).order_by(_E.kind)
    found = {kind: int(count) for kind, count in connection.execute(kinds).tuples()}
    pairs = select(_R.from_id, _R.to_id, _R.kind).where(_R.workspace == workspace).distinct().subquery()
    relations = connection.execute(select(func.count()).select_from(pairs)).scalar_one()
    return GraphStats(sum(found.values()), relations, found)


# -- neighbours


def neighbourhood(
    connection: Connection,
    workspace: str,
    seeds: Sequence[str],
    hops: int,
    limit: int,
    open_only: bool = False,
) -> Neighbourhood:
    """At most `limit` entities within `hops` of the seeds, nearest and most strongly related first, and the relations
    among these and the seeds. Bounded work whatever the graph: see `MAX_EDGES`, `FRONTIER`."""
    reached: dict[str, Found | None] = dict.fromkeys(seeds)
    way_private: dict[str, bool] = dict.fromkeys(seeds, False)
    edges: dict[tuple[str, str, str], Relation] = {}
    frontier = list(dict.fromkeys(seeds))[:FRONTIER]
    found: list[Found] = []
    truncated = len(seeds) > FRONTIER
    for hop in range(1, hops + 1):
        strengths: dict[str, float] = {}
        private: dict[str, bool] = {}
        for node in frontier:
            near, cut = _edges(connection, workspace, node, open_only)
            truncated |= cut
            for relation in near:
                edges[relation.start, relation.end, relation.kind] = relation
                other = relation.end if relation.start == node else relation.start
                if other in reached:
                    continue
                strengths[other] = strengths.get(other, 0.0) + relation.weight / (1 + math.log1p(len(near)))
                hidden = relation.private or way_private[node]
                private[other] = private.get(other, True) and hidden
        if open_only:
            strengths = {i: strengths[i] for i in fetch(connection, workspace, strengths, open_only=True)}
        order = sorted(strengths, key=lambda i: (-strengths[i], i))
        room = max(0, limit - len(found))
        truncated |= len(order) > room
        known = fetch(connection, workspace, order[:room])
        for identity in order[:room]:
            if (entity := known.get(identity)) is not None:
                way_private[identity] = private[identity]
                hit = Found(entity, hop, strengths[identity], private=entity.private or private[identity])
                reached[identity] = hit
                found.append(hit)
        frontier = [hit.entity.id for hit in found if hit.hops == hop][:FRONTIER]
    kept = tuple(r for r in edges.values() if r.start in reached and r.end in reached)
    return Neighbourhood(tuple(found), kept, truncated)


def _edges(connection: Connection, workspace: str, node: str, open_only: bool = False) -> tuple[list[Relation], bool]:
    """An entity's relations, one per other end and kind; whether there are more."""
    sums: dict[tuple[str, str, str], tuple[float, bool]] = {}
    cut = False
    for statement in _SIDES:
        rows = connection.exec_driver_sql(statement, (node, workspace, not open_only, MAX_EDGES)).all()
        cut |= len(rows) == MAX_EDGES
        for start, end, kind, weight, private in rows:
            before, hidden = sums.get((start, end, kind), (0.0, True))
            # Private where no open origin says the same.
            sums[start, end, kind] = before + weight, hidden and bool(private)
    return [Relation(*key, weight, private) for key, (weight, private) in sums.items()], cut


def vectors(connection: Connection, workspace: str) -> list[tuple[str, bytes]]:
    query = select(_E.id, _E.embedding).where(_E.workspace == workspace, _E.embedding.is_not(None))
    return list(connection.execute(query).tuples())


def unembedded(connection: Connection, workspace: str, limit: int) -> list[Mapping[str, Any]]:
    """`id`, `kind`, `name`, `summary` of entities without a vector, but for what is read from code alone."""
    query = select(_E.id, _E.kind, _E.name, _E.summary).where(_E.workspace == workspace, _E.embedding.is_(None))
    query = query.where(_E.source != Source.CODE.value)
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


def _entity(row: Row[Any]) -> Entity:
    return Entity(
        row.id,
        row.workspace,
        row.kind,
        row.name,
        row.summary,
        row.source,
        row.path,
        row.line,
        row.private,
        row.mentions,
        from_text(row.first_seen),
        from_text(row.last_seen),
    )


def _sighting(row: Row[Any]) -> Sighting:
    return Sighting(
        row.origin,
        row.source,
        row.name,
        row.summary,
        row.path,
        row.line,
        row.private,
        row.mentions,
        row.first_seen,
        row.last_seen,
    )
