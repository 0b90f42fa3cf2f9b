"""Which folders are indexed, and the state each file was in when it was: rows of `index_folders` and `index_files`.

A file whose size and time are those of its row need not be read again. The index itself stays the judge of what it
holds: a row whose hash it does not have counts for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from app.store.database import Database
from app.store.tables import from_text, index_files, index_folders, to_text

CHUNKER: Final = 1
"""Raised when the same file would be cut in another way: then every file is cut again."""
_F, _S = index_folders.c, index_files.c
_PORTION: Final = 500
"""Paths in one statement."""


@dataclass(frozen=True, slots=True)
class Folder:
    """`root` is absolute and real: no part of it is a link. `prefix` stands before a file's relative path in the index:
    empty for a workspace's first folder, `name/` for others, so that two `README.md`s stay two files."""

    id: int
    workspace: str
    root: Path
    prefix: str
    watch: bool
    created_at: datetime
    indexed_at: datetime | None
    """When a run last came to its end."""
    current: bool = True
    """False: another version of the chunker made its chunks, so every file is to be cut again."""


@dataclass(frozen=True, slots=True)
class FileState:
    """`skipped`: why the file is not in the index though it could be (`binary`, `empty`)."""

    path: str
    size: int
    mtime_ns: int
    content_hash: str
    skipped: str | None = None


class Manifest:
    """Raises `StoreUnavailable` where the database cannot be read or written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def folders(self, workspace: str | None = None) -> list[Folder]:
        """All, or one workspace's; the oldest first."""
        query = select(index_folders).order_by(_F.id)
        if workspace is not None:
            query = query.where(_F.workspace == workspace)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return list(map(_folder, rows))

    async def taken(self, folder: Folder) -> tuple[str, ...]:
        """What the paths of the workspace's other folders begin with in the index, for the folder whose own begin with
        nothing: it may have got a folder of such a name since."""
        if folder.prefix:
            return ()
        return tuple(other.prefix for other in await self.folders(folder.workspace) if other.prefix)

    async def add(self, workspace: str, root: Path, now: datetime, *, watch: bool | None) -> Folder:
        """The folder's row, made where there is none; `watch` None leaves it as it is."""
        return _folder(await self._database.write(lambda connection: _add(connection, workspace, root, now, watch)))

    async def set_watch(self, folder: Folder, watch: bool) -> None:
        await self._database.write(
            lambda c: c.execute(update(index_folders).where(_F.id == folder.id).values(watch=watch))
        )

    async def remove(self, folder: Folder) -> None:
        """The folder and its files."""
        await self._database.write(lambda c: c.execute(delete(index_folders).where(_F.id == folder.id)))

    async def finished(self, folder: Folder, now: datetime) -> None:
        values = {"indexed_at": to_text(now), "chunker": CHUNKER}
        await self._database.write(lambda c: c.execute(update(index_folders).where(_F.id == folder.id).values(values)))

    async def files(self, folder: Folder) -> dict[str, FileState]:
        """By relative path."""
        rows = await self._database.read(lambda connection: connection.execute(_states(folder)).all())
        return _by_path(rows)

    async def files_at(self, folder: Folder, paths: Iterable[str]) -> dict[str, FileState]:
        """Those of these paths that there are."""
        keys = list(map(os.fsencode, paths))
        portions = [keys[at : at + _PORTION] for at in range(0, len(keys), _PORTION)]
        queries = [_states(folder).where(_S.path.in_(some)) for some in portions]
        return _by_path(await self._database.read(lambda c: [row for query in queries for row in c.execute(query)]))

    async def any_below(self, folder: Folder, paths: Iterable[str]) -> bool:
        """Whether one of these paths is, or was, a folder with files in it."""
        starts = [os.fsencode(path) + b"/" for path in paths]
        below = [
            select(_S.path).where(_S.folder_id == folder.id, _S.path > start, _S.path < start[:-1] + b"0").limit(1)
            for start in starts  # "0" comes next to "/"
        ]
        return await self._database.read(lambda c: any(c.execute(query).first() is not None for query in below))

    async def counts(self) -> dict[int, int]:
        """How many files of each folder are in the index, by the folder's id."""
        query = select(_S.folder_id, func.count()).where(_S.skipped.is_(None)).group_by(_S.folder_id)
        return dict(await self._database.read(lambda c: [tuple(row) for row in c.execute(query)]))

    async def put(self, folder: Folder, states: Iterable[FileState]) -> None:
        """Not waiting for the disk: a row that a crash takes away costs one reading of the file."""
        rows = [
            {"folder_id": folder.id, "path": os.fsencode(s.path), "size": s.size, "mtime_ns": s.mtime_ns,
             "content_hash": s.content_hash, "skipped": s.skipped}
            for s in states
        ]  # fmt: skip
        if rows:
            await self._database.write(lambda connection: _put(connection, rows), durable=False)

    async def forget(self, folder: Folder, paths: Iterable[str]) -> None:
        keys = [{"wanted": os.fsencode(path)} for path in paths]
        if keys:
            statement = delete(index_files).where(_S.folder_id == folder.id, _S.path == bindparam("wanted"))
            await self._database.write(lambda connection: connection.execute(statement, keys), durable=False)


def _states(folder: Folder) -> Select[Any]:
    return select(_S.path, _S.size, _S.mtime_ns, _S.content_hash, _S.skipped).where(_S.folder_id == folder.id)


def _by_path(rows: Iterable[Any]) -> dict[str, FileState]:
    return {(path := os.fsdecode(row[0])): FileState(path, *row[1:]) for row in rows}


def _add(connection: Connection, workspace: str, root: Path, now: datetime, watch: bool | None) -> Any:
    raw = os.fsencode(root)
    mine = select(index_folders).where(_F.workspace == workspace, _F.root == raw)
    found = connection.execute(mine).one_or_none()
    if found is None:
        others = connection.execute(select(_F.root, _F.prefix).where(_F.workspace == workspace)).all()
        prefix = _prefix(root, {Path(os.fsdecode(other)): taken for other, taken in others})
        row = {
            "workspace": workspace,
            "root": raw,
            "prefix": os.fsencode(prefix),
            "watch": bool(watch),
            "chunker": CHUNKER,
            "created_at": to_text(now),
        }
        connection.execute(insert(index_folders), row)
    elif watch is not None:
        connection.execute(update(index_folders).where(_F.id == found.id).values(watch=watch))
    return connection.execute(mine).one()


def _prefix(root: Path, others: Mapping[Path, bytes]) -> str:
    if not any(prefix == b"" for prefix in others.values()):
        return ""
    (plain,) = (other for other, prefix in others.items() if prefix == b"")
    taken = {os.fsdecode(prefix) for prefix in others.values()}
    number = 1
    while True:
        name = f"{root.name or 'root'}{'' if number == 1 else f'-{number}'}"
        if f"{name}/" not in taken and not (plain / name).exists():
            return f"{name}/"
        number += 1


def _put(connection: Connection, rows: list[dict[str, Any]]) -> None:
    statement = upsert(index_files)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["folder_id", "path"],
        set_={"size": new.size, "mtime_ns": new.mtime_ns, "content_hash": new.content_hash, "skipped": new.skipped},
    )
    connection.execute(statement, rows)


def _folder(row: Any) -> Folder:
    return Folder(
        id=row.id,
        workspace=row.workspace,
        root=Path(os.fsdecode(row.root)),
        prefix=os.fsdecode(row.prefix),
        watch=row.watch,
        created_at=from_text(row.created_at),
        indexed_at=from_text(row.indexed_at) if row.indexed_at else None,
        current=row.chunker == CHUNKER,
    )
