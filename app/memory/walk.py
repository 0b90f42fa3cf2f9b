"""A folder's files as git would see them: `.gitignore`s, and what no index should hold left out. Never follows a link.

Every directory is listed once and every file is looked at with one `stat`; nothing is read but `.gitignore` files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

MAX_BYTES: Final = 1_000_000
"""Larger files are data, or generated."""
_MAX_IGNORE_BYTES: Final = 1_000_000

SKIPPED_FOLDERS: Final = frozenset(
    {".git", ".hg", ".svn", ".bzr", "node_modules", "bower_components", "jspm_packages", "__pycache__", "site-packages"}
    | {".venv", "venv", ".tox", ".nox", ".eggs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    | {".cache", ".idea", ".vs", ".gradle", ".terraform", ".next", ".nuxt", ".svelte-kit", ".parcel-cache"}
    | {"build", "dist", "target", "out", "coverage", "htmlcov", ".import_linter_cache", "Pods", "DerivedData"}
)
"""Versions, packages, caches and what builds make: whatever a `.gitignore` says."""
_GENERATED: Final = (
    *("*.min.js", "*.min.css", "*.map", "*.lock", "*-lock.json", "*-lock.yaml", "go.sum", "npm-shrinkwrap.json"),
    *("*.pyc", "*.ipynb_checkpoints", "requirements*.lock"),
)
_SECRET: Final = (
    *(".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "*.jks", "id_rsa", "id_dsa", "id_ecdsa"),
    *("id_ed25519", ".netrc", ".pgpass", ".npmrc", ".pypirc", "credentials", "*.kdbx"),
)
"""What an index must not hand to a model. Examples (`.env.example`) are no secrets."""
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

    spec: GitIgnoreSpec
    folder: str
    above: str = ""

    def verdict(self, path: str) -> bool | None:
        """True: ignored, False: taken back by `!`, None: not mentioned. A folder's path ends in `/`."""
        return self.spec.check_file(self.above + path.removeprefix(self.folder)).include


def walk(root: Path, *, max_bytes: int = MAX_BYTES) -> Iterator[FoundFile | Skipped]:
    """Everything below `root`, folder by folder, in the order of names. Raises `OSError` where `root` cannot be listed;
    what cannot be read below it is `Skipped`."""
    waiting: list[tuple[str, tuple[_Rules, ...]]] = [("", _above(root))]
    while waiting:
        folder, rules = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError:
            if not folder:
                raise
            yield Skipped(folder.rstrip("/"), "unreadable", folder=True)
            continue
        names = {entry.name for entry in entries}
        if folder and ("pyvenv.cfg" in names or "CACHEDIR.TAG" in names):
            yield Skipped(folder.rstrip("/"), "ignored", folder=True)
            continue
        if ".gitignore" in names and (own := _read_rules(root, folder)) is not None:
            rules = (own, *rules)
        below = []
        for entry in entries:
            found = _look(entry, folder, rules, max_bytes)
            if isinstance(found, str):
                below.append((found, rules))
            else:
                yield found
        waiting.extend(reversed(below))


def look(root: Path, path: str, *, max_bytes: int = MAX_BYTES) -> FoundFile | Skipped | None:
    """What a walk would say of one file; None where nothing is there. A folder is `Skipped` as `folder`."""
    *above, name = path.split("/")
    rules = _above(root)
    folder = ""
    for part in [*above, ""]:
        if os.path.islink(os.path.join(root, folder.rstrip("/"))):
            return Skipped(path, "symlink")
        if (own := _read_rules(root, folder)) is not None:
            rules = (own, *rules)
        if part:
            folder += f"{part}/"
            if _left_out(part, folder, rules):
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
    path = os.path.join(root, folder, ".gitignore")
    try:
        if os.path.islink(path) or os.path.getsize(path) > _MAX_IGNORE_BYTES:
            return None
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    return _Rules(_spec(lines), folder, above)


def _spec(lines: list[str]) -> GitIgnoreSpec:
    """A line that git would not understand is left out, not the whole file."""
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:
        good = []
        for line in lines:
            try:
                GitIgnoreSpec.from_lines([line])
            except ValueError:
                continue
            good.append(line)
        return GitIgnoreSpec.from_lines(good)


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
