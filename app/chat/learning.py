"""Entities out of what is new in a workspace: what was said in its sessions, and its indexed texts. For an agent.

    learned = await learning.extract_new("work", since=last)      # the oldest first, at most `limit` of them
    last = learned.until                                          # … and again while `learned.more`

A session keeps one origin (`session:<id>`), which gathers what its messages name and goes with it; a file's is replaced
each time it is read and goes with the file. Everything is read on this machine (`app.memory.extraction`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final

from sqlalchemy import Connection, select

from app.memory.entities import Origin, Source
from app.memory.extraction import EntityExtraction
from app.memory.manifest import FileState, Folder, Manifest
from app.memory.mentions import MAX_CHARACTERS
from app.memory.reading import NotIndexed, read_file, text_of
from app.memory.walk import MAX_BYTES
from app.store.database import Database
from app.store.tables import from_text, session_messages, sessions, to_bound
from app.usage.records import Parent

PROSE: Final = frozenset((".md", ".markdown", ".mdx", ".rst", ".txt", ".adoc", ".org"))
"""Files whose text is read for entities; what a grammar reads has its symbols already."""
MOST_AT_ONCE: Final = 20

_M, _S = session_messages.c, sessions.c


@dataclass(frozen=True, slots=True)
class Learned:
    """`until`: everything up to then was read; `more`: there is something newer. `warnings` are sentences."""

    texts: int
    entities: int
    until: datetime
    more: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _New:
    """Something to read. `root` and `path`: a file's; else `text` was said in a session."""

    at: datetime
    origin: Origin
    private: bool
    text: str = ""
    root: str = ""
    path: str = ""


class Learning:
    """`was_private` says whether anything of a workspace's index was stored while it was private."""

    def __init__(
        self,
        extraction: EntityExtraction,
        database: Database,
        manifest: Manifest,
        was_private: Callable[[str], bool],
    ) -> None:
        self._extraction = extraction
        self._database = database
        self._manifest = manifest
        self._was_private = was_private

    async def extract_new(
        self,
        workspace: str,
        since: datetime,
        *,
        limit: int = MOST_AT_ONCE,
        use_model: bool = True,
        parent: Parent | None = None,
    ) -> Learned:
        """Read what is newer than `since`, the oldest first, at most `limit` sessions and files. `parent`: the run of
        an agent that it is done for.

        Raises `StoreUnavailable`; a file that cannot be read is a warning.
        """
        said = await self._database.read(lambda connection: _said(connection, workspace, since))
        waiting = sorted([*said, *await self._written(workspace, since)], key=lambda new: (new.at, new.origin.key))
        some = waiting[:limit]
        # What came in the same moment is read with it: `until` must not pass over it.
        some += [new for new in waiting[limit:] if new.at == some[-1].at]
        found, warnings = 0, []
        for new in some:
            text = new.text or await asyncio.to_thread(_file_text, new)
            if not text.strip():
                warnings.append(f"{new.origin.ref} cannot be read, or holds no text")
                continue
            kept = await self._extraction.keep(
                workspace,
                text,
                origin=new.origin,
                private=new.private,
                use_model=use_model,
                replace=bool(new.path),
                parent=parent,
            )
            found += len(kept.ids)
            warnings += [f"{new.origin.ref}: {warning}" for warning in kept.extracted.warnings]
        until = some[-1].at if some else since
        return Learned(len(some), found, until, len(waiting) > len(some), tuple(dict.fromkeys(warnings)))

    async def _written(self, workspace: str, since: datetime) -> list[_New]:
        new: list[_New] = []
        private = self._was_private(workspace)
        for folder in await self._manifest.folders(workspace):
            for state, at in _times(folder, (await self._manifest.files(folder)).values()):
                if at > since:
                    origin = Origin(Source.TEXT, folder.prefix + state.path)
                    new.append(_New(at, origin, private, root=str(folder.root), path=state.path))
        return new


def _times(folder: Folder, files: Iterable[FileState]) -> Iterator[tuple[FileState, datetime]]:
    """The texts among the files, and since when there is something to read in each: since it was written, and at the
    earliest since its folder is indexed, a microsecond after the one written before it."""
    texts = [f for f in files if f.skipped is None and PurePosixPath(f.path).suffix.lower() in PROSE]
    for place, state in enumerate(sorted(texts, key=lambda text: (text.mtime_ns, text.path))):
        # 0: written so shortly before it was indexed that its time tells nothing.
        written = datetime.fromtimestamp(state.mtime_ns / 1e9, UTC) if state.mtime_ns else None
        earliest = folder.created_at + timedelta(microseconds=place)
        yield state, max(written or folder.indexed_at or folder.created_at, earliest)


def session_origin(session_id: str) -> Origin:
    """Of what a session's messages name."""
    return Origin(Source.TEXT, f"session:{session_id}")


def _said(connection: Connection, workspace: str, since: datetime) -> list[_New]:
    """Each session's new messages as one text."""
    newer = (_S.workspace == workspace) & (_S.updated_at >= to_bound(since))
    found: list[_New] = []
    for session_id, private in connection.execute(select(_S.id, _S.private).where(newer)).tuples().all():
        rows = connection.execute(
            select(_M.content, _M.created_at)
            .where(_M.session_id == session_id, _M.created_at >= to_bound(since), _M.content.is_not(None))
            .where(_M.role.in_(("user", "assistant")))
            .order_by(_M.seq)
        ).all()
        fresh = [row for row in rows if from_text(row.created_at) > since]
        if fresh:
            text = "\n\n".join(row.content for row in fresh)[:MAX_CHARACTERS]
            last = max(from_text(row.created_at) for row in fresh)
            found.append(_New(last, session_origin(session_id), bool(private), text))
    return found


def _file_text(new: _New) -> str:
    """Empty where it cannot be read (any more)."""
    try:
        return text_of(read_file(Path(new.root), new.path, MAX_BYTES, time.time_ns()).data)[:MAX_CHARACTERS]
    except NotIndexed:
        return ""
