"""A file's bytes, and the text they are: whatever the encoding, and nothing that is no text."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.memory.chunks import content_hash

_LOOKED_AT: Final = 8_192
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\f\x1b\b"))
_MOST_CONTROLS: Final = 0.1
_RECENT_NS: Final = 2_000_000_000
"""A file written so short a time before it is read may be written again within one tick of its clock."""


class NotIndexed(Exception):
    """`reason` in a word: `binary`, `symlink`, `too_large`, `unreadable`, `special`, `vanished`, `empty`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FileBytes:
    """What was read, and the state of the file it was read from. `mtime_ns` is 0 where the file was so new that its
    time could not tell a later change."""

    data: bytes
    size: int
    mtime_ns: int

    @property
    def content_hash(self) -> str:
        return content_hash(self.data)


def read_file(root: Path, path: str, max_bytes: int, now_ns: int) -> FileBytes:
    """`root` is real (`os.path.realpath`). Raises `NotIndexed`, also where the path leads out of the root by now."""
    full = os.path.join(root, path)
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(full, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise NotIndexed("vanished") from None
    except OSError as error:
        raise NotIndexed("symlink" if error.errno == errno.ELOOP else "unreadable") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotIndexed("special")
        if os.path.realpath(full) != full:  # a folder on the way was put in place of another since it was listed
            raise NotIndexed("symlink")
        if status.st_size > max_bytes:
            raise NotIndexed("too_large")
        try:
            data = file.read(max_bytes + 1)
        except OSError:  # also: a folder by now
            raise NotIndexed("unreadable") from None
    if len(data) > max_bytes:
        raise NotIndexed("too_large")
    settled = now_ns - status.st_mtime_ns > _RECENT_NS and len(data) == status.st_size
    return FileBytes(data, status.st_size, status.st_mtime_ns if settled else 0)


def text_of(data: bytes) -> str:
    """UTF-8, with or without a mark; UTF-16 and UTF-32 with theirs; else Latin-1. Raises `NotIndexed`: `binary` for
    what is no text, `empty`."""
    if not data.strip():
        raise NotIndexed("empty")
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16's
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    head = data[:_LOOKED_AT]
    if b"\0" in head:
        raise NotIndexed("binary")
    try:
        return data.decode()
    except UnicodeDecodeError:
        if len(head) - len(head.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(head) or b"\0" in data:
            raise NotIndexed("binary") from None
        return data.decode("latin-1")
