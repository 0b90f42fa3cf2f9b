"""What may be sent to `/chunks`, `/search`, `/index` and `/entities`, and what is answered there."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.results import Result
from app.api.schemas import Body, Id, Line, Shown
from app.context.trim import lines_of
from app.memory.chunks import Chunk, chunk_id, content_hash
from app.memory.index import MAX_HITS

Workspace = Annotated[Id | None, Field(description="A profile's id; the configured default when absent.")]


class StoredChunk(Body):
    """A piece of a file, cut by the front end. Lines are 1-based and inclusive."""

    id: Id | None = Field(None, description="Made from path and text when absent. Storing an id again replaces it.")
    path: Shown
    text: Annotated[str, Field(min_length=1)]
    start_line: Line = 1
    end_line: Line | None = Field(None, description="As many lines as the text has when absent.")
    symbol: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, description="The dotted path of what is defined here, `Router.stream`."
    )
    language: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> StoredChunk:
        if self.last_line < self.start_line:
            raise ValueError("end_line must not be before start_line")
        return self

    @property
    def last_line(self) -> int:
        return self.end_line if self.end_line is not None else self.start_line + max(len(lines_of(self.text)), 1) - 1


class ChunksBody(Body):
    """Chunks to store and files to forget, in one commit: a file named in both is replaced whole."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workspace": "thesis-research",
                    "delete_paths": ["src/notes.py"],
                    "chunks": [{"path": "src/notes.py", "text": "def add(note):\n    ...", "symbol": "add"}],
                }
            ]
        }
    )

    workspace: Workspace = None
    chunks: Annotated[list[StoredChunk], Field(max_length=2_000)] = Field([], description="Stored, or replaced by id.")
    delete_paths: Annotated[list[Shown], Field(max_length=10_000)] = Field(
        [], description="Every chunk of these files goes first."
    )

    @model_validator(mode="after")
    def _says_something(self) -> ChunksBody:
        if not self.chunks and not self.delete_paths:
            raise ValueError("chunks or delete_paths is required")
        return self

    def to_chunks(self) -> list[Chunk]:
        seen: Counter[tuple[str, str]] = Counter()
        made = []
        for c in self.chunks:
            identity = c.id or chunk_id(c.path, c.text, seen[c.path, c.text])
            seen[c.path, c.text] += 1
            digest = content_hash(c.text.encode())
            made.append(Chunk(identity, c.path, c.start_line, c.last_line, c.text, c.symbol, c.language, digest))
        return made


class ChunksResult(Result):
    workspace: str
    ids: list[str] = Field(description="Of the stored chunks, in the order they were given.")
    searchable: str = Field(description="By what they are found.", examples=["meaning and words", "words"])


class SearchBody(Body):
    """What to look for, in a workspace's indexed files."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "where is the retry decided?", "workspace": "work", "k": 5}]}
    )

    query: Annotated[str, Field(min_length=1, max_length=100_000)]
    workspace: Workspace = None
    k: Annotated[int, Field(ge=1, le=MAX_HITS)] = Field(10, description="Most chunks to return.")

    @model_validator(mode="after")
    def _asks_something(self) -> SearchBody:
        if not self.query.strip():
            raise ValueError("query must not be blank")
        return self


class FoundChunk(Result):
    id: str
    path: str = Field(description="Relative to the folder that was indexed.", examples=["app/llm/retry.py"])
    start_line: int
    end_line: int = Field(description="Inclusive.")
    symbol: str | None = Field(examples=["ModelRouter.stream"])
    language: str | None
    text: str
    score: float = Field(description="Higher is better; comparable within one answer only.")
    similarity: float | None = Field(description="Cosine to the query; null where either has no vector.")
    lexical_rank: int | None = Field(description="Place in the full-text search, from 1.")
    vector_rank: int | None = Field(description="Place in the vector search, from 1.")


class SearchResult(Result):
    workspace: str
    chunks: list[FoundChunk] = Field(description="Best first, near-duplicates left out.")
    searched_by: str = Field(examples=["meaning and words", "words"])


BODIES: tuple[type[BaseModel], ...] = (ChunksBody, SearchBody)
"""Read without FastAPI's help; the OpenAPI document describes them from here."""
