"""Entities that bear on a query as notes for the context: those that were found, and what is one and two hops away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.context.blocks import EntityNote
from app.memory.entities import MAX_HOPS, Found, Neighbourhood, Relation
from app.memory.graph import EntityGraph

LEAST_SHARE: Final = 0.4
"""An entity that scores less than this share of the best one only shares a common word with the query."""
SUMMARY_CHARACTERS: Final = 300
_MOST_RELATIONS: Final = 2


@dataclass(frozen=True, slots=True)
class EntitiesFound:
    """`private`: one of them, or the way to one, was stored while private."""

    notes: tuple[EntityNote, ...] = ()
    private: bool = False


async def notes_about(graph: EntityGraph, workspace: str, query: str, limit: int) -> EntitiesFound:
    """At most `limit` entities, and as many of their neighbours. `hops` counts from those that were found."""
    found = await graph.search(workspace, query, limit=limit)
    if not found:
        return EntitiesFound()
    near = [hit for hit in found if hit.score >= LEAST_SHARE * found[0].score]
    around = await graph.neighbours(workspace, [hit.entity.id for hit in near], hops=MAX_HOPS, limit=limit)
    return notes_of(near, around)


def notes_of(found: Sequence[Found], around: Neighbourhood) -> EntitiesFound:
    """Each note says what its entity is, how it hangs together with the others, and where it stands."""
    every = [*found, *around.found]
    names = {hit.entity.id: hit.entity.name for hit in every}
    hops = {hit.entity.id: hit.hops for hit in every}
    notes = tuple(
        EntityNote(hit.entity.name, hit.entity.kind, _said(hit, around.relations, names, hops), hit.hops)
        for hit in every
    )
    return EntitiesFound(notes, any(hit.private for hit in every))


def _said(hit: Found, relations: Sequence[Relation], names: Mapping[str, str], hops: Mapping[str, int]) -> str | None:
    entity = hit.entity
    parts = [entity.summary[:SUMMARY_CHARACTERS]] if entity.summary else []
    parts += _ways(hit, relations, names, hops)
    if entity.path and entity.path != entity.name:
        parts.append(f"{entity.path}:{entity.line}" if entity.line else entity.path)
    return "; ".join(parts) or None


def _ways(hit: Found, relations: Sequence[Relation], names: Mapping[str, str], hops: Mapping[str, int]) -> list[str]:
    """How a neighbour is related to what is nearer: `imported by X`, in the relation's own words."""
    own = hit.entity.id
    ways: list[tuple[float, str]] = []
    for relation in relations:
        other = relation.end if relation.start == own else relation.start if relation.end == own else None
        if other is None or other not in names or hops[other] >= hit.hops:
            continue
        if relation.private and not hit.private:
            continue  # nothing else of this note is private
        kind = relation.kind.replace("_", " ")
        said = f"{kind} {names[other]}" if relation.start == own else f"{names[other]} {kind} it"
        ways.append((-relation.weight, said))
    return [said for _, said in sorted(ways)[:_MOST_RELATIONS]]
