"""What may be sent to `/entities`, and what is answered there."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.api.memory_schemas import Workspace
from app.api.results import Result
from app.api.schemas import Body, Id, Line, Shown
from app.memory.entities import (
    DEFAULT_KIND,
    KIND,
    MAX_ALIASES,
    MAX_AT_ONCE,
    MAX_HOPS,
    MAX_MENTIONS,
    MAX_WEIGHT,
    NAME_CHARACTERS,
    RELATED,
    SUMMARY_CHARACTERS,
    EntityRef,
    NewEntity,
    NewRelation,
    Origin,
    Source,
    normalised,
)
from app.memory.graph import MAX_FOUND, MAX_NEIGHBOURS
from app.memory.mentions import MAX_CHARACTERS

KINDS_REGEX = r"^[a-z0-9_-]{1,64}(,[a-z0-9_-]{1,64}){0,15}$"

Kind: TypeAlias = Annotated[str, Field(pattern=f"^{KIND.pattern}$")]
SourceName: TypeAlias = Literal["user", "agent", "code", "text"]


def _named(name: str) -> str:
    if not normalised(name):
        raise ValueError("needs a character that is neither a space nor a quote")
    return name


class _Named(Body):
    name: Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]
    kind: Kind = Field(DEFAULT_KIND, description="class, function, file, person, error, concept …")

    _is_named = field_validator("name")(_named)


class EntityEnd(_Named):
    """An end of a relation by name and kind; made where there is none."""


class EntityIn(_Named):
    """Merged with the entity of this kind whose name is the same but for case, spaces and quotes."""

    summary: Annotated[str, Field(min_length=1, max_length=SUMMARY_CHARACTERS)] | None = None
    aliases: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]], Field(max_length=MAX_ALIASES)
    ] = Field([], description="Other names: entities of this kind under them become one with it.")
    path: Shown | None = Field(None, description="The file it is defined in.")
    line: Line | None = Field(None, description="1-based; needs `path`.")
    mentions: Annotated[int, Field(ge=1, le=MAX_MENTIONS)] = Field(1, description="How often the origin names it.")

    @field_validator("aliases")
    @classmethod
    def _are_names(cls, aliases: list[str]) -> list[str]:
        return [_named(alias) for alias in aliases]

    @model_validator(mode="after")
    def _has_a_place(self) -> EntityIn:
        if self.line is not None and self.path is None:
            raise ValueError("line needs a path")
        return self

    def to_new(self) -> NewEntity:
        return NewEntity(self.name, self.kind, self.summary, self.aliases, self.path, self.line, self.mentions)


class RelationIn(Body):
    """Directed: `from` is related to `to`."""

    start: EntityEnd | Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)] = Field(
        alias="from", description="`{name, kind}`; or the name of an entity of this request, an id, or a known name."
    )
    end: EntityEnd | Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)] = Field(
        alias="to", description="Like `from`."
    )
    kind: Kind = Field(RELATED, description="defines, imports, calls, inherits, contained_in, causes …")
    weight: Annotated[float, Field(gt=0, le=MAX_WEIGHT)] = Field(1.0, description="How strongly.")

    def to_new(self) -> NewRelation:
        return NewRelation(_end(self.start), _end(self.end), self.kind, float(self.weight))


def _end(end: EntityEnd | str) -> EntityRef | str:
    return end if isinstance(end, str) else EntityRef(end.name, end.kind)


class EntitiesBody(Body):
    """Entities and relations that one origin speaks of, in one commit. Sending the same again changes nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workspace": "thesis-research",
                    "entities": [
                        {"name": "gradient checkpointing", "summary": "Trades compute for memory."},
                        {"name": "train.py", "kind": "file", "path": "src/train.py"},
                    ],
                    "relations": [{"from": "train.py", "to": "gradient checkpointing", "kind": "uses"}],
                }
            ]
        }
    )

    workspace: Workspace = None
    entities: Annotated[list[EntityIn], Field(max_length=MAX_AT_ONCE)] = Field([])
    relations: Annotated[list[RelationIn], Field(max_length=MAX_AT_ONCE)] = Field([])
    source: SourceName = Field("user", description="Who says so; of several descriptions the user's counts first.")
    origin: Shown | None = Field(
        None, description="What it was read from: a path, a session's id, an agent's name. Forgotten by this."
    )
    delete_origins: Annotated[list[Shown], Field(max_length=10_000)] = Field(
        [], description="All that these origins of this source said goes first."
    )

    @model_validator(mode="after")
    def _says_something(self) -> EntitiesBody:
        if not (self.entities or self.relations or self.delete_origins):
            raise ValueError("entities, relations or delete_origins is required")
        return self

    @property
    def said_by(self) -> Origin:
        return Origin(Source(self.source), self.origin or "")

    @property
    def forgotten(self) -> list[Origin]:
        return [Origin(Source(self.source), ref) for ref in self.delete_origins]


class ExtractBody(Body):
    """A text to find entities in. It is read on this machine alone, whatever the workspace allows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"workspace": "work", "text": "Ada fixed the leak in src/train.py.", "origin": "note-7"}]
        }
    )

    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
    workspace: Workspace = None
    source: Literal["text", "agent"] = Field("text", description="Who says so.")
    origin: Shown | None = Field(
        None,
        description="What the text is: a path, a session's id, a note's. What it said before is replaced. Made from "
        "the text when absent.",
    )
    use_model: bool = Field(True, description="False: by patterns (and the recogniser) alone, in milliseconds.")
    store: bool = Field(True, description="False: only say what would be stored.")

    @model_validator(mode="after")
    def _says_something(self) -> ExtractBody:
        if not self.text.strip():
            raise ValueError("text must not be blank")
        return self

    @property
    def said_by(self) -> Origin | None:
        return None if self.origin is None else Origin(Source(self.source), self.origin)


class FindParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: Id | None = Field(None, description="A profile's id; the configured default when absent.")
    q: str | None = Field(None, max_length=10_000, description="What to look for: a name, words. All when absent.")
    kind: str | None = Field(None, pattern=KINDS_REGEX, description="Of these kinds alone, comma-separated.")
    hops: int = Field(0, ge=0, le=MAX_HOPS, description="Also neighbours of what was found, so far away.")
    limit: int = Field(20, ge=1, le=MAX_FOUND, description="Most entities found; as many neighbours may come along.")
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before; without `q`.")

    @property
    def kinds(self) -> list[str]:
        return self.kind.split(",") if self.kind else []


class ShowParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: Id | None = Field(None, description="Only if it is in this one.")
    hops: int = Field(1, ge=0, le=MAX_HOPS)
    limit: int = Field(50, ge=1, le=MAX_NEIGHBOURS, description="Most neighbours.")


class DeleteParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: Id | None = Field(None, description="Only if it is in this one.")


class EntityResult(Result):
    id: str
    workspace: str
    kind: str
    name: str
    summary: str | None
    source: SourceName = Field(description="Who describes it.")
    path: str | None = Field(description="The file it is defined in, where that is known.")
    line: int | None
    private: bool = Field(description="Some of it was stored while private: only local models may see it.")
    mentions: int = Field(description="Over all origins.")
    first_seen: str = Field(description="ISO 8601, UTC.")
    last_seen: str


class FoundEntity(EntityResult):
    hops: int = Field(description="0: found itself; else so far from something found.")
    score: float = Field(description="Higher is better; comparable within one answer and one distance only.")
    similarity: float | None = Field(description="Cosine to `q`; null where either has no vector.")


class RelationResult(Result):
    model_config = ConfigDict(populate_by_name=True)

    start: str = Field(alias="from", description="An entity's id.")
    end: str = Field(alias="to", description="An entity's id.")
    kind: str
    weight: float = Field(description="Over all origins.")
    private: bool


class FoundEntities(Result):
    workspace: str
    entities: list[FoundEntity] = Field(description="Best first; without `q` the most mentioned first.")
    relations: list[RelationResult] = Field(description="Among these entities; empty with `hops=0`.")
    next_cursor: str | None = Field(description="Without `q`: `cursor` of the next page; null on the last one.")


class SightingResult(Result):
    source: SourceName
    origin: str = Field(description="A path, a session's id, an agent's name; empty where nothing was named.")
    name: str
    summary: str | None
    path: str | None
    line: int | None
    private: bool
    mentions: int
    first_seen: str
    last_seen: str


class EntityDetailResult(EntityResult):
    aliases: list[str]
    sightings: list[SightingResult] = Field(description="Who speaks of it, the latest first; at most 100.")
    neighbours: list[FoundEntity] = Field(description="Nearest, then most strongly related first.")
    relations: list[RelationResult] = Field(description="Among it and its neighbours.")
    truncated: bool = Field(description="There are more neighbours.")


class EntitiesResult(Result):
    workspace: str
    ids: list[str] = Field(description="Of the entities given, in order; two names of one thing have one id.")
    relations: int = Field(description="How many were stored; one between two names of the same thing is not.")


class ExtractedEntity(Result):
    id: str | None = Field(description="Null with `store: false`.")
    name: str = Field(description="As it stands in the text.")
    kind: str
    summary: str | None
    mentions: int


class ExtractedRelation(Result):
    model_config = ConfigDict(populate_by_name=True)

    start: str = Field(alias="from", description="A name.")
    end: str = Field(alias="to", description="A name.")
    kind: str
    weight: float


class ExtractResult(Result):
    workspace: str
    entities: list[ExtractedEntity]
    relations: list[ExtractedRelation]
    by: list[str] = Field(
        description="Who found them: a local model, `patterns` where none answered, the recogniser where installed."
    )
    warnings: list[str]
    stored: bool


BODIES: tuple[type[BaseModel], ...] = (EntitiesBody, ExtractBody)
"""Read without FastAPI's help; the OpenAPI document is told about them."""
