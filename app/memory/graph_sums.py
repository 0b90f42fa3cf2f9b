"""Entities as the sum of their sightings, and the words they are found by. Runs in the store's writer thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from app.llm.passages import terms
from app.memory.entities import BELIEVED
from app.store.tables import entities, entity_names, entity_sightings, entity_terms

_E, _N, _S, _T = entities.c, entity_names.c, entity_sightings.c, entity_terms.c

_PORTION: Final = 500
"""Ids in one statement; SQLite takes 32,766 values."""
_NAME_WEIGHT, _ALIAS_WEIGHT, _SUMMARY_WEIGHT, _PATH_WEIGHT = 3.0, 2.0, 0.6, 0.3


def portions(ids: Iterable[str], size: int = _PORTION) -> Iterator[list[str]]:
    """In lists that fit into one statement."""
    every = list(ids)
    return (every[at : at + size] for at in range(0, len(every), size))


def sum_up(connection: Connection, ids: Iterable[str], renamed: Collection[str] = ()) -> None:
    """Bring the rows of `entities` and their words up to date; those that nobody has seen go.

    `renamed`: ids that have got or lost a name beside the one they are shown by. What neither these nor a row's own
    words have changed is not cut into words again: most of a write only mentions what is there.
    """
    for some in portions(sorted(ids), _PORTION):
        seen: dict[str, list[Row[Any]]] = {identity: [] for identity in some}
        for row in connection.execute(select(entity_sightings).where(_S.entity_id.in_(some))):
            seen[row.entity_id].append(row)
        names: dict[str, list[str]] = {identity: [] for identity in some}
        for home, name in connection.execute(select(_N.entity_id, _N.name).where(_N.entity_id.in_(some))):
            names[home].append(name)
        before = {row.id: row for row in connection.execute(select(entities).where(_E.id.in_(some)))}
        _store_sums(connection, before, seen, names, renamed)


def _store_sums(
    connection: Connection,
    before: Mapping[str, Row[Any]],
    seen: Mapping[str, Sequence[Row[Any]]],
    names: Mapping[str, Sequence[str]],
    renamed: Collection[str],
) -> None:
    gone = [identity for identity in before if not seen[identity]]
    sums = {identity: _sum(seen[identity]) for identity in before if seen[identity]}
    changed = {i: s for i, s in sums.items() if any(getattr(before[i], column) != s[column] for column in s)}
    if gone:
        connection.execute(delete(entities).where(_E.id.in_(gone)))
    if changed:
        statement = update(entities).where(_E.id == bindparam("b_id"))
        columns: dict[str, Any] = {column: bindparam(f"b_{column}") for column in next(iter(changed.values()))}
        rows = [{f"b_{column}": value for column, value in {"id": i, **s}.items()} for i, s in changed.items()]
        connection.execute(statement.values(columns), rows)
    retold = [i for i, s in changed.items() if (before[i].name, before[i].summary) != (s["name"], s["summary"])]
    if retold:
        connection.execute(update(entities).where(_E.id.in_(retold)).values(embedding=None))
    said = ("name", "summary", "path")
    reworded = {
        i: s for i, s in sums.items() if i in renamed or any(getattr(before[i], column) != s[column] for column in said)
    }
    if reworded:
        _store_words(connection, reworded, before, names)


def _store_words(
    connection: Connection,
    sums: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Row[Any]],
    names: Mapping[str, Sequence[str]],
) -> None:
    had: dict[str, dict[str, float]] = {identity: {} for identity in sums}
    for row in connection.execute(select(_T.entity_id, _T.term, _T.weight).where(_T.entity_id.in_(list(sums)))):
        had[row.entity_id][row.term] = row.weight
    stale: list[str] = []
    rows: list[dict[str, Any]] = []
    for identity, summed in sums.items():
        words = words_of(summed["name"], names[identity], summed["summary"], summed["path"])
        if words != had[identity]:
            stale.append(identity)
            workspace = before[identity].workspace
            rows += [
                {"workspace": workspace, "term": term, "entity_id": identity, "weight": weight}
                for term, weight in words.items()
            ]
    if stale:
        connection.execute(delete(entity_terms).where(_T.entity_id.in_(stale)))
    if rows:
        connection.execute(insert(entity_terms), rows)


def _sum(seen: Sequence[Row[Any]]) -> dict[str, Any]:
    """What sightings add up to. The most believed source describes it, the latest of those first."""
    by_belief = sorted(
        sorted(seen, key=lambda s: s.origin), key=lambda s: (-BELIEVED[s.source], s.last_seen), reverse=True
    )
    placed = sorted((BELIEVED[s.source], s.path, s.line or 0, s.line) for s in seen if s.path is not None)
    return {
        "name": by_belief[0].name,
        "summary": next((s.summary for s in by_belief if s.summary), None),
        "source": by_belief[0].source,
        "path": placed[0][1] if placed else None,
        "line": placed[0][3] if placed else None,
        "private": any(s.private for s in seen),
        "mentions": min(sum(s.mentions for s in seen), 2**53),
        "first_seen": min(s.first_seen for s in seen),
        "last_seen": max(s.last_seen for s in seen),
    }


def words_of(name: str, names: Iterable[str], summary: str | None, path: str | None) -> dict[str, float]:
    """The terms an entity is found by. A word of a short name says more than one of a long name."""
    words: dict[str, float] = {}

    def add(found: Iterator[str], weight: float) -> None:
        distinct = list(dict.fromkeys(found))
        for term in distinct:
            words[term] = max(words.get(term, 0.0), round(weight * 2 / (1 + len(distinct)) ** 0.5, 6))

    add(terms(name), _NAME_WEIGHT)
    for other in sorted(names):
        add(terms(other), _ALIAS_WEIGHT)
    for term in dict.fromkeys(terms(summary or "")):
        words.setdefault(term, _SUMMARY_WEIGHT)
    for term in dict.fromkeys(terms(path or "")):
        words.setdefault(term, _PATH_WEIGHT)
    return words
