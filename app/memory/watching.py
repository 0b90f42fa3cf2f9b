"""A folder under watch: what changes in it, in groups, as long as the task runs.

The system tells of changes (inotify, FSEvents, ReadDirectoryChangesW, through watchfiles); a folder that goes away is
looked for again. A group never says too little: where it is not known what changed, it says "anything".
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import watchfiles

from app.errors import SidecarError
from app.memory.walk import SKIPPED_FOLDERS

log = logging.getLogger(__name__)

DEBOUNCE_MS: Final = 400
"""The longest a group of changes is held together: editors save in several steps."""
STEP_MS: Final = 150
_LOOK_MS: Final = 1_000
"""Between two looks whether the folder is still there. Each folder has a thread that wakes so often, and every step."""
RETRY_SECONDS: Final = 5.0
MOST_PATHS: Final = 500
"""A larger group (a branch was changed) is "anything": one walk costs less."""

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
) -> None:
    """Until cancelled. `changed` gets None first, once changes can no longer be missed, and again after a failure."""
    while True:
        try:
            await _watch_once(root, changed, state)
            state.problem = f"{root} is not there any more"
        except (OSError, RuntimeError) as error:
            state.problem = f"{root} cannot be watched ({_reason(error)})"
        except SidecarError as error:
            state.problem = f"{root} is watched, and what changed could not be indexed: {error.detail}"
        except Exception:
            log.exception("watching a folder failed")
            state.problem = f"{root} cannot be watched; the sidecar's log says why"
        await sleep(RETRY_SECONDS)


async def _watch_once(root: Path, changed: Changed, state: WatchState) -> None:
    first = True
    async for changes in watchfiles.awatch(
        root,
        watch_filter=_Relevant(root),
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        rust_timeout=_LOOK_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    ):
        if first:
            await changed(None)
            first, state.problem, state.first_look = False, None, True
        elif changes:
            paths = _relative(root, (path for _, path in changes))
            await changed(None if len(paths) > MOST_PATHS else paths)
        elif not await asyncio.to_thread(root.is_dir):
            return


def _relative(root: Path, paths: Iterable[str]) -> frozenset[str]:
    return frozenset(os.path.relpath(path, root).replace(os.sep, "/") for path in paths)


class _Relevant(watchfiles.BaseFilter):
    """Nothing within version control, packages and build outputs."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._below = len(root.parts)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        return not any(part in SKIPPED_FOLDERS for part in Path(path).parts[self._below :])


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).splitlines()[0]
    if "limit" in text.lower() or getattr(error, "errno", None) == 28:
        return "the system's limit of watches is reached: raise fs.inotify.max_user_watches"
    return str(text)[:200]
