"""Indexing as jobs: at most one per workspace and folder, any number of listeners, each told of the latest state.

A job belongs to the sidecar, not to who asked for it: it goes on when they leave, and `stop` ends it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from app.errors import InvalidRequest, NotFound, SidecarError
from app.memory.indexer import FolderIndexer
from app.memory.manifest import Folder, Manifest
from app.memory.progress import ENDED, Progress, Tally
from app.memory.watching import WatchState, watch_folder
from app.memory.workspace import WorkspaceMemory

log = logging.getLogger(__name__)

TOLD_EVERY: Final = 0.1
"""Seconds between two events of one listener, at least."""


class IndexingFailed(SidecarError):
    """A folder could not be indexed to its end. What was stored until then stays, and the next run goes on from it."""

    status, code, title = 503, "indexing_failed", "Indexing failed"


class Job:
    """One run over one folder."""

    def __init__(self, folder: Folder, clock: Callable[[], float], started_at: datetime) -> None:
        self.id = uuid.uuid4().hex
        self.folder = folder
        self.started_at = started_at
        self.tally = Tally(clock())
        self.error: SidecarError | None = None
        self.task: asyncio.Task[None] | None = None
        self._clock = clock
        self._ended_at: float | None = None
        self._changed = asyncio.Event()

    @property
    def progress(self) -> Progress:
        return self.tally.snapshot(self._clock() if self._ended_at is None else self._ended_at)

    @property
    def ended(self) -> bool:
        return self.tally.state in ENDED

    def told(self) -> None:
        if self.ended and self._ended_at is None:
            self._ended_at = self._clock()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def updates(self) -> AsyncGenerator[Progress, None]:
        """The state now, then each change, at most one every `TOLD_EVERY` seconds; the last one is the end."""
        while True:
            changed = self._changed
            progress = self.progress
            yield progress
            if progress.state in ENDED:
                return
            await changed.wait()
            if not self.ended:
                await asyncio.sleep(TOLD_EVERY)

    async def wait(self) -> Progress:
        """The state at the end. Raises the `SidecarError` it failed with."""
        while not self.ended:
            await self._changed.wait()
        if self.error is not None:
            raise self.error
        return self.progress


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """A folder, its latest run in this process, and how many files of it are in the index."""

    folder: Folder
    job: Job | None
    files: int
    watch_problem: str | None = None


class IndexJobs:
    """`now` is the wall clock. Close before the index and the database."""

    def __init__(
        self,
        memory: WorkspaceMemory,
        manifest: Manifest,
        indexer: FolderIndexer,
        now: Callable[[], datetime],
    ) -> None:
        self.indexer = indexer
        self._memory = memory
        self._manifest = manifest
        self._now = now
        self._jobs: dict[int, Job] = {}
        self._watches: dict[int, tuple[asyncio.Task[None], WatchState]] = {}
        self._turns: dict[int, asyncio.Lock] = {}
        # Which folders there are, and which are watched, is changed by one call at a time. Runs do not need it.
        self._starting = asyncio.Lock()

    async def start(self, workspace: str | None, path: str, *, watch: bool | None = None) -> Job:
        """Index a folder, or join the run that is under way. `watch` None leaves that as it is.

        Raises `UnknownWorkspace`, `InvalidRequest` (names the field `path`), `StoreUnavailable`.
        """
        profile = self._memory.profile(workspace)
        root = await asyncio.to_thread(folder_at, path)
        own = self.indexer.own
        if own is not None and own in (root, *root.parents):
            raise _bad_path("the sidecar keeps its own data here, which is no material for a model")
        async with self._starting:
            await self._check_nesting(profile.id, root)
            folder = await self._manifest.add(profile.id, root, self._now(), watch=watch)
            job = self._begin(folder)
            await self._set_watched(folder)
            return job

    async def stop(self, workspace: str | None, path: str) -> Folder:
        """End the run over a folder and its watch, if there are any; what is indexed stays. Raises `NotFound`."""
        async with self._starting:
            folder = replace(await self.find(workspace, path), watch=False)
            await self._manifest.set_watch(folder, False)
            await self._set_watched(folder)
            await self._cancel(folder)
            return folder

    async def resume(self) -> None:
        """At the start: watch what was watched, and catch up with what changed meanwhile."""
        async with self._starting:
            for folder in await self._manifest.folders():
                if folder.watch:
                    await self._set_watched(folder)

    async def drop(self, workspace: str | None, path: str | None) -> list[Folder]:
        """Forget a folder and its files, or all of a workspace's index (`path` None), whoever made it.

        Raises `NotFound`, `IndexUnavailable`, `StoreUnavailable`, `UnknownWorkspace`.
        """
        async with self._starting:  # whoever starts a run meanwhile would have its folder taken away under it
            return await self._drop(self._memory.profile(workspace).id, path)

    async def _drop(self, workspace: str, path: str | None) -> list[Folder]:
        whole = path is None
        folders = await self._manifest.folders(workspace) if path is None else [await self.find(workspace, path)]
        for folder in folders:
            await self._set_watched(replace(folder, watch=False))
            await self._cancel(folder)
            states = await self._manifest.files(folder)
            stored = [state.path for state in states.values() if state.skipped is None]
            observer = self.indexer.observer
            if observer is not None:
                await observer.removed(workspace, [folder.prefix + path for path in stored])
            if not whole:
                await self.indexer.remove(folder, stored, Tally(0.0))
        if whole:
            await self._memory.index.drop(workspace)
        for folder in folders:
            await self._manifest.remove(folder)
            self._jobs.pop(folder.id, None)
        return folders

    async def find(self, workspace: str | None, path: str) -> Folder:
        """A folder that is indexed. Raises `NotFound`, `UnknownWorkspace`."""
        profile = self._memory.profile(workspace)
        wanted = {Path(path)}
        with suppress(OSError, ValueError):  # NUL in it, or a loop of links
            wanted.add(Path(await asyncio.to_thread(os.path.realpath, path)))
        for folder in await self._manifest.folders(profile.id):
            if folder.root in wanted:
                return folder
        raise NotFound(
            f"workspace {profile.id} has no index of {path}; `llm-sidecar index list` shows what it has",
            code="index_not_found",
        )

    async def status(self, workspace: str | None = None) -> list[FolderStatus]:
        """Each folder that is or was indexed, of one workspace or of all."""
        profile = self._memory.profile(workspace) if workspace is not None else None
        folders = await self._manifest.folders(profile.id if profile is not None else None)
        counts = await self._manifest.counts()
        return [
            FolderStatus(folder, self._jobs.get(folder.id), counts.get(folder.id, 0), self._watch_problem(folder))
            for folder in folders
        ]

    def running(self) -> list[Job]:
        return [job for job in self._jobs.values() if not job.ended]

    def health(self) -> dict[str, Any]:
        """Of the part `index` of `/health`."""
        problems = [state.problem for _, state in self._watches.values() if state.problem is not None]
        found: dict[str, Any] = {"running": len(self.running()), "watched": len(self._watches)}
        if problems:
            remedy = "make the folder readable again, or `llm-sidecar index stop` it"
            found |= {"status": "degraded", "reason": "; ".join(problems), "remedy": remedy}
        return found

    async def aclose(self) -> None:
        """End every watch and run; each goes on from where it was when it is started again."""
        watches = [task for task, _ in self._watches.values()]
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        for job in self.running():
            await self._cancel(job.folder)

    # -- runs

    def _begin(self, folder: Folder) -> Job:
        job = self._jobs.get(folder.id)
        if job is not None and not job.ended:
            job.folder = folder  # its watch may have changed
            return job
        job = self._jobs[folder.id] = Job(folder, self.indexer.clock, self._now())
        job.task = asyncio.create_task(self._run(job), name=f"index-{folder.id}")
        return job

    async def _run(self, job: Job) -> None:
        try:
            async with self._turn(job.folder):
                await self.indexer.run(job.folder, job.tally, job.told)
                await self._manifest.finished(job.folder, self._now())
            job.tally.state = "done"
        except asyncio.CancelledError:
            job.tally.state = "cancelled"
            raise
        except SidecarError as error:
            job.error = error
        except OSError as error:
            job.error = IndexingFailed(f"{job.folder.root} cannot be read: {error.strerror or error}")
        except Exception:
            log.exception("indexing folder %d failed", job.folder.id)
            job.error = IndexingFailed("the folder could not be indexed; the sidecar's log says why")
        finally:
            if job.error is not None:
                job.tally.state = "failed"
            job.told()

    async def _cancel(self, folder: Folder) -> None:
        job = self._jobs.get(folder.id)
        if job is not None and job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)
            if not job.ended:  # it had not begun
                job.tally.state = "cancelled"
                job.told()

    def _turn(self, folder: Folder) -> asyncio.Lock:
        """A run and the updates of a watch take turns."""
        return self._turns.setdefault(folder.id, asyncio.Lock())

    # -- watches

    async def _set_watched(self, folder: Folder) -> None:
        """Begin or end the watch, as the folder's row says."""
        if folder.watch and folder.id not in self._watches:
            state = WatchState()
            watch = watch_folder(folder.root, lambda paths: self._changed(folder, paths), state, own=self.indexer.own)
            task = asyncio.create_task(watch, name=f"watch-{folder.id}")
            self._watches[folder.id] = task, state
        elif not folder.watch and folder.id in self._watches:
            task, _ = self._watches.pop(folder.id)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _changed(self, folder: Folder, paths: frozenset[str] | None) -> None:
        if paths is not None:
            async with self._turn(folder):
                if await self.indexer.update(folder, paths):
                    return
        await self._begin(folder).wait()

    def _watch_problem(self, folder: Folder) -> str | None:
        return self._watches[folder.id][1].problem if folder.id in self._watches else None

    async def _check_nesting(self, workspace: str, root: Path) -> None:
        for other in await self._manifest.folders(workspace):
            if other.root == root:
                return
            if other.root in root.parents:
                detail = f"path: {root} is part of {other.root}, which is indexed: index that again"
                raise InvalidRequest(detail, field="path")
            if root in other.root.parents:
                detail = f"path: {other.root} below it is indexed already: drop that first"
                raise InvalidRequest(f"{detail} (`llm-sidecar index drop {other.root}`)", field="path")


def folder_at(path: str) -> Path:
    """The real folder at an absolute path. Raises `InvalidRequest` that says what is wrong with it."""
    if not os.path.isabs(path):
        raise _bad_path("expected an absolute path, such as /home/me/project")
    try:
        root = Path(os.path.realpath(path, strict=True))
        if not root.is_dir():
            raise _bad_path("expected a folder, and this is a file")
        os.scandir(root).close()
    except (FileNotFoundError, NotADirectoryError):
        raise _bad_path("there is no such folder") from None
    except PermissionError:
        raise _bad_path("this folder cannot be read: permission denied") from None
    except (OSError, ValueError) as error:
        raise _bad_path(f"this folder cannot be read ({type(error).__name__})") from None
    if root == Path(root.anchor):
        raise _bad_path("a whole file system is too much: name the folder of a project")
    return root


def _bad_path(problem: str) -> InvalidRequest:
    return InvalidRequest(f"path: {problem}", field="path")
