"""A folder under watch: what changes in it, in groups, as long as the task runs.

The system tells of changes (inotify, FSEvents, ReadDirectoryChangesW, through watchfiles); a folder that goes away is
looked for again. A group never says too little: where it is not known what changed, it says "anything".

Linux watches folders one by one. Left to itself the library takes all that can be reached, through links too: of a
project with a link to `/` in it, the machine's. So it is told which folders a walk goes into, and again where one is
added.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import watchfiles

from app.errors import SidecarError
from app.memory.walk import MARKS, SKIPPED_FOLDERS, folders

log = logging.getLogger(__name__)

DEBOUNCE_MS: Final = 400
"""The longest a group of changes is held together: editors save in several steps."""
STEP_MS: Final = 150
_LOOK_MS: Final = 1_000
"""Between two looks whether the folder is still there. Each folder has a thread that wakes so often, and every step."""
RETRY_SECONDS: Final = 5.0
ONE_BY_ONE: Final = sys.platform == "linux"
"""Folders are watched one by one; elsewhere the system watches all that is below one, and follows no link."""
_DECIDES: Final = frozenset((".gitignore", *MARKS))
"""Files that say which folders are walked."""
MOST_PATHS: Final = 500
"""A larger group (a branch was changed) is "anything": one walk costs less."""

Changes: TypeAlias = set[tuple[watchfiles.Change, str]]
Changed = Callable[[frozenset[str] | None], Awaitable[None]]
"""Gets paths relative to the folder; None: anything may have changed."""


@dataclass(slots=True)
class WatchState:
    """`problem` is a sentence for `/health`, or None. `first_look`: what changed before the watch began is indexed."""

    problem: str | None = None
    first_look: bool = False


async def watch_folder(
    root: Path,
    changed: Changed,
    state: WatchState,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    own: Path | None = None,
) -> None:
    """Until cancelled. `changed` gets None first, once changes can no longer be missed, and again after a failure.
    Nothing is told of `own`, the folder of the sidecar's data."""
    while True:
        try:
            while await _watch_once(root, changed, state, own):
                pass
            state.problem = f"{root} is not there any more"
        except (OSError, RuntimeError) as error:
            state.problem = f"{root} cannot be watched ({_reason(error)})"
        except SidecarError as error:
            state.problem = f"{root} is watched, and what changed could not be indexed: {error.detail}"
        except Exception:
            log.exception("watching a folder failed")
            state.problem = f"{root} cannot be watched; the sidecar's log says why"
        await sleep(RETRY_SECONDS)


async def _watch_once(root: Path, changed: Changed, state: WatchState, own: Path | None) -> bool:
    """Whether to watch anew, because there may be other folders to watch; else the folder is gone."""
    paths = await asyncio.to_thread(_watched, root, own)
    async with aclosing(_changes(paths, _Relevant(root, own))) as groups:
        await anext(groups)
        await changed(None)
        state.problem, state.first_look = None, True
        async for changes in groups:
            if changes and ONE_BY_ONE and await asyncio.to_thread(_changes_folders, changes):
                return True
            if changes:
                relative = _relative(root, (path for _, path in changes))
                await changed(None if len(relative) > MOST_PATHS else relative)
            elif not await asyncio.to_thread(root.is_dir):
                return False
    return False


async def _changes(paths: Sequence[str], relevant: _Relevant) -> AsyncGenerator[Changes, None]:
    """Groups of changes, and empty ones when it is quiet: one at once, as soon as nothing is missed any more.

    As `watchfiles.awatch`, which begins on the event loop: a second for 20,000 folders.
    """
    stop = threading.Event()
    options: dict[str, Any] = {"debounce": DEBOUNCE_MS, "step": STEP_MS, "rust_timeout": _LOOK_MS}
    groups = watchfiles.watch(
        *paths,
        watch_filter=relevant,
        stop_event=stop,
        yield_on_timeout=True,
        recursive=not ONE_BY_ONE,
        ignore_permission_denied=True,
        **options,
    )
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
    loop = asyncio.get_running_loop()
    try:
        while (found := await loop.run_in_executor(pool, next, groups, None)) is not None:
            yield found
    finally:
        stop.set()
        pool.submit(groups.close)  # in its turn: after the look under way
        pool.shutdown(wait=False)


def _watched(root: Path, own: Path | None) -> list[str]:
    """What the system is asked to watch. A name that is no text cannot be said to the library."""
    if not ONE_BY_ONE:
        return [str(root)]
    return [path for folder in folders(root, own=own) if _is_text(path := os.path.join(root, folder.rstrip("/")))]


def _is_text(path: str) -> bool:
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def _changes_folders(changes: Changes) -> bool:
    """Whether a folder is new, or may be one to go into by now."""
    return any(
        os.path.basename(path) in _DECIDES or (change is watchfiles.Change.added and os.path.isdir(path))
        for change, path in changes
    )


def _relative(root: Path, paths: Iterable[str]) -> frozenset[str]:
    return frozenset(os.path.relpath(path, root).replace(os.sep, "/") for path in paths)


class _Relevant(watchfiles.BaseFilter):
    """Nothing within version control, packages and build outputs, nor of the sidecar's own data."""

    def __init__(self, root: Path, own: Path | None = None) -> None:
        super().__init__()
        self._below = len(root.parts)
        self._own = f"{own}{os.sep}" if own is not None else None

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        if self._own is not None and path.startswith(self._own):
            return False
        return not any(part in SKIPPED_FOLDERS for part in Path(path).parts[self._below :])


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).splitlines()[0]
    if "limit" in text.lower() or getattr(error, "errno", None) == 28:
        return "the system's limit of watches is reached: raise fs.inotify.max_user_watches"
    return str(text)[:200]
