"""AttemptJournal: attempts that went out and have no row in the database yet, in a file beside it.

A transaction per `pending` row would double what the ledger costs a short request. So a begun attempt is appended to
this file (one `write` of a few hundred bytes, about 5 µs) and gets its pending row a moment later, together with the
others, unless it has ended by then. A killed process leaves the note, and the next start turns it into a row. The file
is not synced: like the pending row, it survives the death of the program, not of the machine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import orjson

from app.usage.records import AttemptStart, Parent

log = logging.getLogger(__name__)

_COMPACT_BYTES = 1 << 20
_FIELDS = tuple(field.name for field in fields(AttemptStart))


def journal_path(database: Path) -> Path:
    """Beside the database and named like its -wal, so that whatever moves the one moves the other."""
    return database.with_name(database.name + "-attempts")


def read_journal(path: Path) -> list[AttemptStart]:
    """The notes a killed process left; a line that was cut off is skipped."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    notes = []
    for line in lines:
        try:
            # Not strict: a note of an earlier version lacks what came later.
            values = dict(zip(_FIELDS, orjson.loads(line), strict=False))
            parent = Parent(**values["parent"]) if values.get("parent") else None
            created_at = datetime.fromisoformat(values["created_at"])
            notes.append(AttemptStart(**{**values, "created_at": created_at, "parent": parent}))
        except (ValueError, TypeError):
            log.warning("a line of %s is not readable and is skipped", path.name)
    return notes


class AttemptJournal:
    """The open file. Trouble with it is logged once and costs no answer: it only covers the first milliseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._size = 0
        self._compact_at = _COMPACT_BYTES
        self._complained = False
        self.compact(())

    @property
    def is_large(self) -> bool:
        """True: most of what it holds has a row by now, and `compact` is due."""
        return self._size > self._compact_at

    def note(self, start: AttemptStart) -> None:
        """Append one attempt."""
        if self._fd is None:
            return
        try:
            self._size += os.write(self._fd, _line(start))
        except OSError as error:
            self._complain(error)

    def compact(self, unwritten: Iterable[AttemptStart]) -> None:
        """Start the file afresh with the attempts that have no row yet; the old one stands until then."""
        fresh = self._path.with_name(self._path.name + ".new")
        content = b"".join(_line(start) for start in unwritten)
        try:
            _write_private(fresh, content)
            self._close_file()  # Windows renames over no open file
            os.replace(fresh, self._path)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            self._size = len(content)
        except OSError as error:
            self._complain(error)
        self._compact_at = max(_COMPACT_BYTES, 2 * self._size)

    def close(self, *, remove: bool) -> None:
        """`remove`: every attempt in it has its row."""
        self._close_file()
        if remove:
            self._path.unlink(missing_ok=True)

    def _close_file(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("cannot write %s: %s", self._path.name, error.strerror)


def _write_private(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def _line(start: AttemptStart) -> bytes:
    try:
        return orjson.dumps(tuple(getattr(start, name) for name in _FIELDS)) + b"\n"
    except TypeError:  # text that is not Unicode: such a row cannot be stored either
        return b""
