"""The index's tables on disk: LanceDB opened with bounded caches, and the indexes a table is searched by.

Beside `app.memory.index` the only file that imports LanceDB, and only when called.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.memory import index_rows

if TYPE_CHECKING:
    from lancedb.db import AsyncConnection
    from lancedb.table import AsyncTable

_CACHE_BYTES: Final = 64 * 2**20
"""For index pages, and again for table metadata; LanceDB would take gigabytes."""


async def connect(folder: Path) -> AsyncConnection:
    await asyncio.to_thread(_prepare, folder)
    import lancedb

    return await lancedb.connect_async(
        folder,
        read_consistency_interval=timedelta(0),
        session=lancedb.Session(index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES),
    )


def _prepare(folder: Path) -> None:
    import lancedb.index
    import lancedb.query  # noqa: F401

    index_rows.schema()  # imports pyarrow's part
    folder.mkdir(parents=True, exist_ok=True)


async def make_ready(table: AsyncTable) -> None:
    """Key and indexes, made when the table is, or now if a kill came between. An index's presence implies the key."""
    from lancedb.index import FTS, BTree

    present = {tuple(index.columns) for index in await table.list_indices()}
    if ("terms",) not in present:
        await table.set_unenforced_primary_key("key")
        # The words are made by `app.llm.passages.terms`: nothing is left to do but to split them.
        words = FTS(
            base_tokenizer="whitespace",
            max_token_length=128,
            lower_case=False,
            stem=False,
            remove_stop_words=False,
            ascii_folding=False,
        )
        await table.create_index("terms", config=words)
    for column in ("chunk", "path_key"):
        if (column,) not in present:
            await table.create_index(column, config=BTree())


async def index_vectors(table: AsyncTable) -> None:
    """Once: from then on `optimize` adds new rows to it."""
    from lancedb.index import IvfFlat

    if any(index.columns == ["vector"] for index in await table.list_indices()):
        return
    await table.create_index("vector", config=IvfFlat(distance_type="l2"))


def remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
