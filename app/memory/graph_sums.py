"""Entities as the sum of their sightings, and the words they are found by. Runs in the store's writer thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from app.llm.passages import terms
from app.memory.entities import BELIEVED
from app.store.tables import entities, entity_names, entity_sightings, entity_terms

_E, _N, _S, _T = entities.c, entity_names.c, entity_sightings.c, entity_terms.c

_PORTION: Final = 500
"""Ids in one statement; SQLite takes 32,766 values."""
MOST_MENTIONS: Final = 2**53
_SUMMED: Final = (
    _E.id, _E.workspace, _E.name, _E.summary, _E.source, _E.path, _E.line, _E.private, _E.mentions, _E.first_seen,
    _E.last_seen,
)  # fmt: skip
_NAME_WEIGHT, _ALIAS_WEIGHT, _SUMMARY_WEIGHT, _PATH_WEIGHT = 3.0, 2.0, 0.6, 0.3


def portions(ids: Iterable[str], size: int = _PORTION) -> Iterator[list[str]]:
    """In lists that fit into one statement."""
    every = list(ids)
    return (every[at : at + size] for at in range(0, len(every), size))


@dataclass(frozen=True, slots=True)
class Change:
    """Of one entity's sightings by the origins that one write speaks of: those there were, and the one there is."""

    gone: Sequence[Row[Any]] = ()
    come: Row[Any] | None = None


_NONE: Final[Mapping[str, Change]] = MappingProxyType({})


def sum_up(
    connection: Connection, ids: Iterable[str], renamed: Collection[str] = (), changes: Mapping[str, Change] = _NONE
) -> None:
    """Bring the rows of `entities` and their words up to date; those that nobody has seen go.

    `renamed`: ids that have got or lost a name beside the one they are shown by. What neither these nor a row's own
    words have changed is not cut into words again: most of a write only mentions what is there. `changes`: where one is
    enough to tell the sum from the one before, an entity's other sightings are not read. A module that every file
    imports has thousands, and each file would wait for all of them.
    """
    for some in portions(sorted(ids), _PORTION):
        before = {row.id: row for row in connection.execute(select(*_SUMMED).where(_E.id.in_(some)))}
        plain = {i: changes[i] for i, row in before.items() if i in changes and _is_plain(row, changes[i])}
        bounds = _bounds(connection, [i for i, change in plain.items() if _ends_a_bound(before[i], change)])
        sums: dict[str, dict[str, Any] | None]
        sums = {i: _adjusted(before[i], change, bounds.get(i)) for i, change in plain.items()}
        seen: dict[str, list[Row[Any]]] = {identity: [] for identity in before if identity not in sums}
        for row in connection.execute(select(entity_sightings).where(_S.entity_id.in_(list(seen)))):
            seen[row.entity_id].append(row)
        sums |= {identity: summed(rows) if rows else None for identity, rows in seen.items()}
        _store_sums(connection, before, sums, renamed)


def _store_sums(
    connection: Connection,
    before: Mapping[str, Row[Any]],
    every: Mapping[str, dict[str, Any] | None],
    renamed: Collection[str],
) -> None:
    """`every`: None where nobody has seen it any more."""
    gone = [identity for identity, summed in every.items() if summed is None]
    sums = {identity: summed for identity, summed in every.items() if summed is not None}
    opened = [i for i, summed in sums.items() if before[i].private and not summed["private"]]
    for identity in _with_names(connection, opened):
        # Names outlive who told them, and so does that two names are one: what was private with several stays so.
        sums[identity] = {**sums[identity], "private": True}
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
        _store_words(connection, reworded, before)


def _with_names(connection: Connection, ids: Sequence[str]) -> Sequence[str]:
    """Those that have more than one name."""
    if not ids:
        return ()
    several = select(_N.entity_id).where(_N.entity_id.in_(ids)).group_by(_N.entity_id).having(func.count() > 1)
    return connection.execute(several).scalars().all()


def _store_words(
    connection: Connection,
    sums: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Row[Any]],
) -> None:
    names: dict[str, list[str]] = {identity: [] for identity in sums}
    for home, name in connection.execute(select(_N.entity_id, _N.name).where(_N.entity_id.in_(list(sums)))):
        names[home].append(name)
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


def _is_plain(before: Row[Any], change: Change) -> bool:
    """A mention comes that is newer than all others and no less believed, as most are while a folder is indexed: then
    it is the one to be shown, and the sum is told from the one before."""
    come = change.come
    if come is None or before.name == "" or before.mentions >= MOST_MENTIONS:
        return False
    described = any(s.summary is not None or s.path is not None for s in (come, *change.gone))
    return not described and come.last_seen > before.last_seen and BELIEVED[come.source] <= BELIEVED[before.source]


def _ends_a_bound(before: Row[Any], change: Change) -> bool:
    """Whether the first that saw it goes, or what made it private."""
    return any(s.first_seen <= before.first_seen or (before.private and s.private) for s in change.gone)


def _bounds(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """When each was first seen, and whether any of its sightings is private."""
    if not ids:
        return {}
    columns = _S.entity_id, func.min(_S.first_seen), func.max(_S.private)
    found = connection.execute(select(*columns).where(_S.entity_id.in_(ids)).group_by(_S.entity_id))
    return {identity: (first, bool(private)) for identity, first, private in found}


def _adjusted(before: Row[Any], change: Change, bounds: tuple[str, bool] | None) -> dict[str, Any]:
    """What `summed` would say of all sightings, from what they added up to before a plain change."""
    come = change.come
    assert come is not None
    first, private = bounds or (min(before.first_seen, come.first_seen), before.private or come.private)
    return {
        "name": come.name,
        "summary": before.summary,
        "source": come.source,
        "path": before.path,
        "line": before.line,
        "private": private,
        "mentions": min(before.mentions - sum(s.mentions for s in change.gone) + come.mentions, MOST_MENTIONS),
        "first_seen": first,
        "last_seen": come.last_seen,
    }


def summed(seen: Sequence[Row[Any]]) -> dict[str, Any]:
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
        "mentions": min(sum(s.mentions for s in seen), MOST_MENTIONS),
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
