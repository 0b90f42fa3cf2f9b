"""Entities and relations as values, and when two mentions are of one entity. Pure.

What is stored is what was *seen*: a sighting says that one origin (a file, a session, the user) mentions an entity. An
entity is the sum of its sightings and goes with the last of them, so a file that goes takes its symbols with it.
Merging two sightings is commutative and idempotent: whoever writes first, and how often, the same rows come of it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from app.errors import InvalidRequest

ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
KIND: Final = re.compile(r"[a-z0-9_-]{1,64}")
DEFAULT_KIND: Final = "concept"
RELATED: Final = "related_to"

NAME_CHARACTERS: Final = 256
SUMMARY_CHARACTERS: Final = 2_000
MAX_ALIASES: Final = 32
MAX_HOPS: Final = 2
MAX_WEIGHT: Final = 1e6
MAX_MENTIONS: Final = 1_000_000
MAX_AT_ONCE: Final = 5_000
"""Entities, and relations, in one write."""

_SPACE = re.compile(r"\s+")
_QUOTES = "`'\"“”‘’«»"


class Source(StrEnum):
    """Who says so. Where several describe one entity the first of these that does is believed."""

    USER = "user"
    AGENT = "agent"
    CODE = "code"
    TEXT = "text"


BELIEVED: Final = {source.value: place for place, source in enumerate(Source)}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was seen: `ref` is a file's path, a session's id, an agent's name, or empty."""

    source: Source
    ref: str = ""

    @property
    def key(self) -> str:
        """As it is stored; what is not text (a file name that is no UTF-8) is escaped."""
        return f"{self.source.value}:{storable(self.ref)}"


@dataclass(frozen=True, slots=True)
class EntityRef:
    """An entity by what it is called."""

    name: str
    kind: str = DEFAULT_KIND


@dataclass(frozen=True, slots=True)
class NewEntity:
    """An entity as one origin mentions it. `path` and `line` (1-based): where it is defined, if it is there.

    `aliases` are other names of the same thing: entities of that kind under those names become one with it.
    `mentions`: how often the origin names it.
    """

    name: str
    kind: str = DEFAULT_KIND
    summary: str | None = None
    aliases: Sequence[str] = ()
    path: str | None = None
    line: int | None = None
    mentions: int = 1


@dataclass(frozen=True, slots=True)
class NewRelation:
    """Directed. An end is an `EntityRef`, which is made where there is none, or a string: the name of an entity of the
    same write, else an id or a name that the workspace knows."""

    start: EntityRef | str
    end: EntityRef | str
    kind: str = RELATED
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Entity:
    """A stored entity. `private`: some of it was stored while the workspace, or the session it comes from, was private.

    `mentions` adds up what each origin counts; `origins` is how many there are.
    """

    id: str
    workspace: str
    kind: str
    name: str
    summary: str | None
    source: str
    path: str | None
    line: int | None
    private: bool
    mentions: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """An entity a search found, or a neighbour `hops` away from one. `score` compares within one answer only;
    `similarity` is the cosine to the query where both have a vector."""

    entity: Entity
    hops: int = 0
    score: float = 0.0
    similarity: float | None = None
    private: bool = False
    """The entity is, or the way to it was."""


@dataclass(frozen=True, slots=True)
class Relation:
    """`weight` adds up what each origin says."""

    start: str
    end: str
    kind: str
    weight: float
    private: bool


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Entities around others, nearest first, and the relations among all of them. `truncated`: there are more."""

    found: tuple[Found, ...] = ()
    relations: tuple[Relation, ...] = ()
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one origin says of an entity, as it is stored."""

    origin: str
    source: str
    name: str
    summary: str | None
    path: str | None
    line: int | None
    private: bool
    mentions: int
    first_seen: str
    last_seen: str


@dataclass(frozen=True, slots=True)
class EntityDetail:
    entity: Entity
    aliases: tuple[str, ...]
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class GraphStats:
    entities: int = 0
    relations: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


def normalised(name: str) -> str:
    """By which two names are the same: Unicode's compatible form, case folded, spaces as one, quotes round it off."""
    text = _SPACE.sub(" ", unicodedata.normalize("NFKC", storable(name))).strip().strip(_QUOTES).strip()
    return unicodedata.normalize("NFKC", text.casefold())


def entity_id(workspace: str, kind: str, name: str) -> str:
    """The id of what is called so: 32 hexadecimal digits, the same in every process."""
    digest = hashlib.sha256()
    for part in (workspace, kind, normalised(name)):
        encoded = part.encode("utf-8", "backslashreplace")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]


def check_id(identity: str) -> str:
    """The id. Raises `InvalidRequest`."""
    if not ID.fullmatch(identity):
        raise InvalidRequest("An entity's id is 1 to 128 letters, digits and `_ . : -`.", field="entity_id")
    return identity


def check(entities: Sequence[NewEntity], relations: Sequence[NewRelation]) -> None:
    """Raises `InvalidRequest` that names the field of the first that cannot be stored."""
    for what, given in (("entities", entities), ("relations", relations)):
        if len(given) > MAX_AT_ONCE:
            raise InvalidRequest(f"{what}: at most {MAX_AT_ONCE} at once; send more in several requests", field=what)
    for at, entity in enumerate(entities):
        _check_name(entity.name, f"entities[{at}].name")
        _check_kind(entity.kind, f"entities[{at}].kind")
        if len(entity.aliases) > MAX_ALIASES:
            raise InvalidRequest(f"at most {MAX_ALIASES} aliases", field=f"entities[{at}].aliases")
        for place, alias in enumerate(entity.aliases):
            _check_name(alias, f"entities[{at}].aliases[{place}]")
    for at, relation in enumerate(relations):
        _check_kind(relation.kind, f"relations[{at}].kind")
        for name, end in (("from", relation.start), ("to", relation.end)):
            if isinstance(end, EntityRef):
                _check_name(end.name, f"relations[{at}].{name}.name")
                _check_kind(end.kind, f"relations[{at}].{name}.kind")
        if not 0 < relation.weight <= MAX_WEIGHT:
            raise InvalidRequest(f"expected a number above 0, up to {MAX_WEIGHT:g}", field=f"relations[{at}].weight")


def _check_name(name: str, where: str) -> None:
    if not normalised(name):
        raise InvalidRequest("a name needs a character that is neither a space nor a quote", field=where)
    if len(name) > NAME_CHARACTERS:
        raise InvalidRequest(f"expected at most {NAME_CHARACTERS} characters", field=where)


def _check_kind(kind: str, where: str) -> None:
    if not KIND.fullmatch(kind):
        raise InvalidRequest("expected 1 to 64 of a-z, 0-9, `_` and `-`", field=where)


def storable(text: str) -> str:
    """Text that SQLite takes: half characters (of file names that are no UTF-8) are escaped."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def shown(text: str) -> str:
    """A name as it is shown: on one line."""
    return _SPACE.sub(" ", storable(text)).strip()
