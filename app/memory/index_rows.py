"""The index's table: its columns, chunks to rows and back, and the few filters it is asked with.

One row per passage of a chunk. The first (`part` 0) also holds the chunk itself; the others only their vector. Filters
are SQL text in LanceDB, so nothing goes into one but ids of a closed alphabet and hexadecimal digests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from app.errors import InvalidRequest
from app.memory.chunks import Chunk
from app.memory.embedder import DIMENSIONS
from app.memory.searchable import Searchable

if TYPE_CHECKING:
    from app.memory.prepared import Prepared

ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
CHUNK_COLUMNS: Final = (
    "chunk",
    "path",
    "start_line",
    "end_line",
    "text",
    "symbol",
    "language",
    "content_hash",
    "header",
)
_LAST_LINE = 2**31 - 1


def table_name(workspace: str) -> str:
    """A digest, so that no workspace id can name a folder, or another workspace's table. `c1`: these columns."""
    return f"c1_{_digest(workspace)}"


def path_key(path: str) -> str:
    """What stands for a path in filters: paths may hold quotes, line ends and bytes that are no text."""
    return _digest(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def is_in(column: str, values: Iterable[str]) -> str:
    """`column IN (…)` for ids and digests. Raises `ValueError` for anything else; callers have checked before."""
    listed = list(values)
    for value in listed:
        if ID.fullmatch(value) is None:
            raise ValueError("a filter takes nothing but ids")
    quoted = ", ".join(f"'{value}'" for value in listed)
    return f"{column} IN ({quoted})"


def check(chunks: Sequence[Chunk]) -> None:
    """Raises `InvalidRequest` that names the first field that cannot be stored."""
    seen: set[str] = set()
    for at, chunk in enumerate(chunks):
        if ID.fullmatch(chunk.id) is None:
            raise _invalid(f"chunks[{at}].id", "expected 1 to 128 of A-Z a-z 0-9 _ . : -")
        if chunk.id in seen:
            raise _invalid(f"chunks[{at}].id", f"{chunk.id} is given twice")
        seen.add(chunk.id)
        if not chunk.path:
            raise _invalid(f"chunks[{at}].path", "expected a path, got nothing")
        if not 1 <= chunk.start_line <= chunk.end_line <= _LAST_LINE:
            raise _invalid(f"chunks[{at}].start_line", "expected 1 <= start_line <= end_line < 2147483648")


def _invalid(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {expected}", field=field)


def schema(dimensions: int = DIMENSIONS) -> Any:
    """Imports pyarrow, which comes with LanceDB: call off the event loop the first time."""
    import pyarrow as pa  # type: ignore[import-untyped]

    text, number = pa.string(), pa.int32()
    return pa.schema(
        [
            pa.field("key", text, nullable=False),  # chunk id, `#`, part: no id holds a `#`
            pa.field("chunk", text, nullable=False),
            pa.field("part", number, nullable=False),
            pa.field("path_key", text, nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimensions)),  # null: stored without the model
            pa.field("terms", text),
            pa.field("path", pa.binary()),
            pa.field("start_line", number),
            pa.field("end_line", number),
            pa.field("text", text),
            pa.field("symbol", text),
            pa.field("language", text),
            pa.field("content_hash", text),
            pa.field("header", text),
        ]
    )


def rows(prepared: Prepared, dimensions: int = DIMENSIONS) -> Any:
    """An Arrow table: a row per passage, or, without vectors, one per chunk."""
    import pyarrow as pa

    columns = schema(dimensions)
    records: list[dict[str, object]] = []
    for chunk, searchable in zip(prepared.chunks, prepared.found, strict=True):
        for part in range(len(searchable.passages) if prepared.vectors is not None else 1):
            record: dict[str, object] = {"key": f"{chunk.id}#{part}", "chunk": chunk.id, "part": part}
            record["path_key"] = path_key(chunk.path)
            records.append(record | (_stored(chunk, searchable) if part == 0 else {}))
    without = columns.remove(columns.get_field_index("vector"))
    table = pa.Table.from_pylist(records, schema=without)
    vector_type = columns.field("vector").type
    if prepared.vectors is None:
        column = pa.nulls(len(records), vector_type)
    else:
        column = pa.FixedSizeListArray.from_arrays(pa.array(prepared.vectors.reshape(-1)), type=vector_type)
    return table.append_column(columns.field("vector"), column).select(columns.names)


def _stored(chunk: Chunk, searchable: Searchable) -> dict[str, object]:
    return {
        "terms": _text(searchable.terms),
        "path": chunk.path.encode("utf-8", "surrogateescape"),
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "text": _text(chunk.text),
        "symbol": _text(chunk.symbol),
        "language": _text(chunk.language),
        "content_hash": _text(chunk.content_hash),
        "header": _text(chunk.header),
    }


def _text(text: str | None) -> str | None:
    """Lone surrogates, which are no text, become question marks."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def chunk_of(row: dict[str, Any]) -> Chunk:
    """The chunk in a row of part 0 with `CHUNK_COLUMNS`."""
    return Chunk(
        id=row["chunk"],
        path=row["path"].decode("utf-8", "surrogateescape"),
        start_line=row["start_line"],
        end_line=row["end_line"],
        text=row["text"],
        symbol=row["symbol"],
        language=row["language"],
        content_hash=row["content_hash"],
        header=row["header"],
    )
