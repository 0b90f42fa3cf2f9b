"""A folder's files as git would see them: `.gitignore`s, and what no index should hold left out. Never follows a link.

Every directory is listed once and every file is looked at with one `stat`; nothing is read but `.gitignore` files.
Hostile ones among them cost no more than others: their patterns are RE2's, and are compiled some hundred at a time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import re2

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MAX_BYTES: Final = 1_000_000
"""Larger files are data, or generated."""
_MAX_IGNORE_BYTES: Final = 1_000_000
_IGNORE_LINES: Final = 250
"""Compiled together: RE2 refuses some thousand in one set."""

SKIPPED_FOLDERS: Final = frozenset(
    {".git", ".hg", ".svn", ".bzr", "node_modules", "bower_components", "jspm_packages", "__pycache__", "site-packages"}
    | {".venv", "venv", ".tox", ".nox", ".eggs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    | {".cache", ".idea", ".vs", ".gradle", ".terraform", ".next", ".nuxt", ".svelte-kit", ".parcel-cache"}
    | {"build", "dist", "target", "out", "coverage", "htmlcov", ".import_linter_cache", "Pods", "DerivedData"}
)
"""Versions, packages, caches and what builds make: whatever a `.gitignore` says."""
MARKS: Final = ("pyvenv.cfg", "CACHEDIR.TAG")
"""A folder with one of them in it is packages or a cache."""
_GENERATED: Final = (
    *("*.min.js", "*.min.css", "*.map", "*.lock", "*-lock.json", "*-lock.yaml", "go.sum", "npm-shrinkwrap.json"),
    *("*.pyc", "*.ipynb_checkpoints", "requirements*.lock"),
)
_SECRET: Final = (
    *(".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "*.jks", "id_rsa", "id_dsa", "id_ecdsa"),
    *("id_ed25519", ".netrc", ".pgpass", ".npmrc", ".pypirc", "credentials", "*.kdbx", "*.env", ".envrc", "*.ppk"),
    *("id_ecdsa_sk", "id_ed25519_sk", ".git-credentials", ".htpasswd", "*.tfvars", "*.tfstate", ".vault-token"),
)
"""What an index must not hand to a model. Examples (`.env.example`) are no secrets."""
_STAND_INS: Final = {0xDC00 + byte: chr(0x10FF00 + byte) for byte in range(0x80, 0x100)}
_EXAMPLES: Final = (".env.example", ".env.sample", ".env.template", ".env.dist")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """`path` is relative to the folder, with `/`; bytes that are no text are surrogates in it (`os.fsdecode`)."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that is not indexed, and the reason in a word. `folder`: and nothing below it is known."""

    path: str
    reason: str
    folder: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    """A `.gitignore` and the folder it stands in, relative to the walk's root; `above` where it stands higher up."""

    specs: tuple[GitIgnoreSpec, ...]
    """Those of the last lines first: the last one that mentions a path decides."""
    folder: str
    above: str = ""

    def verdict(self, path: str) -> bool | None:
        """True: ignored, False: taken back by `!`, None: not mentioned. A folder's path ends in `/`."""
        name = _as_text(self.above + path.removeprefix(self.folder))
        return next((said for spec in self.specs if (said := spec.check_file(name).include) is not None), None)


def _as_text(text: str) -> str:
    """RE2 takes nothing else: bytes that are no text become characters that nobody uses, one each."""
    return text if text.isascii() else text.translate(_STAND_INS)


def walk(root: Path, *, max_bytes: int = MAX_BYTES, own: Path | None = None) -> Iterator[FoundFile | Skipped]:
    """Everything below `root`, folder by folder, in the order of names. Raises `OSError` where `root` cannot be listed;
    what cannot be read below it is `Skipped`. `own`: the folder of the sidecar's data, which is nobody's material."""
    for _, files in _listings(root, max_bytes, own):
        yield from files


def folders(root: Path, *, own: Path | None = None) -> Iterator[str]:
    """The folders that a walk goes into, `root` first as an empty path, the others with a `/` at their end. Raises
    `OSError` where `root` cannot be listed."""
    return (folder for folder, _ in _listings(root, 0, own))


def _listings(root: Path, max_bytes: int, own: Path | None) -> Iterator[tuple[str, list[FoundFile | Skipped]]]:
    """Each folder, and what in it is no folder to go into."""
    waiting: list[tuple[str, tuple[_Rules, ...]]] = [("", _above(root))]
    while waiting:
        folder, rules = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError:
            if not folder:
                raise
            yield folder, [Skipped(folder.rstrip("/"), "unreadable", folder=True)]
            continue
        names = {entry.name for entry in entries}
        if folder and (not names.isdisjoint(MARKS) or _is_own(root, folder, own)):
            yield folder, [Skipped(folder.rstrip("/"), "ignored", folder=True)]
            continue
        if ".gitignore" in names and (read := _read_rules(root, folder)) is not None:
            rules = (read, *rules)
        looked = [_look(entry, folder, rules, max_bytes) for entry in entries]
        yield folder, [found for found in looked if not isinstance(found, str)]
        waiting.extend((found, rules) for found in reversed(looked) if isinstance(found, str))


def look(root: Path, path: str, *, max_bytes: int = MAX_BYTES, own: Path | None = None) -> FoundFile | Skipped | None:
    """What a walk would say of one file; None where nothing is there. A folder is `Skipped` as `folder`."""
    *above, name = path.split("/")
    rules = _above(root)
    folder = ""
    for part in [*above, ""]:
        if os.path.islink(os.path.join(root, folder.rstrip("/"))):
            return Skipped(path, "symlink")
        if (read := _read_rules(root, folder)) is not None:
            rules = (read, *rules)
        if part:
            folder += f"{part}/"
            if _left_out(part, folder, rules) or _is_own(root, folder, own) or _is_marked(root, folder):
                return Skipped(path, "ignored")
    try:
        status = os.stat(os.path.join(root, path), follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Skipped(path, "unreadable")
    found = _judged(status, name, path, rules, max_bytes)
    return Skipped(path, "folder", folder=True) if isinstance(found, str) else found


def _look(entry: os.DirEntry[str], folder: str, rules: tuple[_Rules, ...], max_bytes: int) -> FoundFile | Skipped | str:
    """A folder to go into is its path with a `/` at its end."""
    path = folder + entry.name
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return Skipped(path, "unreadable")
    if _is_junction(entry):
        return Skipped(path, "symlink")
    return _judged(status, entry.name, path, rules, max_bytes)


def _judged(
    status: os.stat_result, name: str, path: str, rules: tuple[_Rules, ...], max_bytes: int
) -> FoundFile | Skipped | str:
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return Skipped(path, "symlink")
    if stat.S_ISDIR(mode):
        return Skipped(path, "ignored", folder=True) if _left_out(name, f"{path}/", rules) else f"{path}/"
    if not stat.S_ISREG(mode):
        return Skipped(path, "special")
    if _ignored(path, rules):
        return Skipped(path, "ignored")
    if reason := named_reason(name):
        return Skipped(path, reason)
    if status.st_size > max_bytes:
        return Skipped(path, "too_large")
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def _left_out(name: str, path: str, rules: tuple[_Rules, ...]) -> bool:
    """Of a folder; its path ends in `/`."""
    return name in SKIPPED_FOLDERS or name.endswith(".egg-info") or _ignored(path, rules)


def _is_own(root: Path, folder: str, own: Path | None) -> bool:
    return own is not None and os.path.join(root, folder.rstrip("/")) == str(own)


def _is_marked(root: Path, folder: str) -> bool:
    return any(os.path.lexists(os.path.join(root, folder, mark)) for mark in MARKS)


def _is_junction(entry: os.DirEntry[str]) -> bool:
    """Windows' other link to a folder (Python 3.12 and later tell)."""
    return bool(getattr(entry, "is_junction", lambda: False)())


def named_reason(name: str) -> str | None:
    """Why a file of this name is not indexed, or None."""
    low = name.lower()
    if any(fnmatch(low, pattern) for pattern in _SECRET) and low not in _EXAMPLES:
        return "secret"
    return "generated" if any(fnmatch(low, pattern) for pattern in _GENERATED) else None


def _ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """The innermost file that mentions the path decides."""
    for rule in rules:
        if (verdict := rule.verdict(path)) is not None:
            return verdict
    return False


def _read_rules(root: Path, folder: str, above: str = "") -> _Rules | None:
    """None where there is none, and of what is no file: git does not follow links there, and a pipe never ends."""
    path = os.path.join(root, folder, ".gitignore")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if os.path.islink(path):
            return None
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(_MAX_IGNORE_BYTES + 1)
    except OSError:
        return None
    return _Rules(_specs(data), folder, above) if len(data) <= _MAX_IGNORE_BYTES else None


@lru_cache(maxsize=64)
def _specs(data: bytes) -> tuple[GitIgnoreSpec, ...]:
    """Kept, because compiling takes 0.2 ms a line, and each file that is saved asks for those above it."""
    lines = _as_text(data.decode("utf-8-sig", "surrogateescape")).splitlines()
    portions = [lines[at : at + _IGNORE_LINES] for at in range(0, len(lines), _IGNORE_LINES)]
    return tuple(spec for portion in reversed(portions) for spec in _compiled(portion))


def _compiled(lines: list[str]) -> list[GitIgnoreSpec]:
    """One, or several where RE2 does not take them together. A line that git would not understand is left out, not the
    whole file."""
    from pathspec import GitIgnoreSpec  # here: what no start needs

    try:
        return [GitIgnoreSpec.from_lines(lines)]
    except (ValueError, re2.error):
        half = len(lines) // 2
        return _compiled(lines[half:]) + _compiled(lines[:half]) if half else []


def _above(root: Path) -> tuple[_Rules, ...]:
    """The `.gitignore`s of the folders around, innermost first, as far as the repository goes."""
    found: list[_Rules] = []
    if (root / ".git").exists():
        return ()
    for outer in root.parents:
        above = root.relative_to(outer).as_posix() + "/"
        if (rules := _read_rules(outer, "", above)) is not None:
            found.append(rules)
        if (outer / ".git").exists():
            return tuple(found)
    return ()  # not in a repository: a stray file somewhere above is not meant for this folder
