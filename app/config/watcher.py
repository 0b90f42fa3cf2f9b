"""The current good configuration, and its reload on save.

watchfiles tells when something in the folder may have changed; whether it has is decided by looking at the files
themselves (`_look`), also now and then without being told. So a file replaced by rename, a symbolic link turned to
another folder, a network folder that sends no events and a folder that vanished and came back all end the same way.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import watchfiles

from app.config.loader import FILES, REQUIRED_FILES, Check, Config, load
from app.config.pricemap import KnownModels
from app.errors import ConfigError, ConfigProblem

log = logging.getLogger(__name__)

STEP_MS = 200
"""How long the folder must be quiet before a reload: an editor's save is several events. A thread wakes as often, also
while nothing happens."""
DEBOUNCE_MS = 1_000
"""The longest a reload waits for that quiet."""
LOOK_MS = 5_000
"""How often the files are looked at when no event arrives."""
RETRY_SECONDS = 0.5
"""How often the files are looked at while the folder cannot be watched."""

Subscriber: TypeAlias = Callable[[Config], None]
_Signature: TypeAlias = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """What `/api/v1/health` says about the configuration."""

    loaded_at: datetime
    """When the current configuration was read."""
    fingerprint: str
    last_error: tuple[ConfigProblem, ...] | None = None
    """Why the files as they are now cannot be used; None: they are the current configuration."""
    failed_at: datetime | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _State:
    """Replaced as a whole, so that a reader sees a configuration and its own status."""

    config: Config
    status: ConfigStatus


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ConfigStore:
    """Holds the last good configuration. Raises `ConfigError` when made on a folder that has none."""

    def __init__(
        self,
        path: Path,
        checks: Sequence[Check] = (),
        *,
        known: KnownModels | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.path = path
        self._checks = tuple(checks)
        self._known = known
        self._now = now
        self._subscribers: list[Subscriber] = []
        self._loading = threading.Lock()
        self._looked = _look(path)
        self._state = self._good(self._load(REQUIRED_FILES))

    @property
    def current(self) -> Config:
        """The configuration in force. Take it once per request: the next read may be a newer one."""
        return self._state.config

    @property
    def status(self) -> ConfigStatus:
        return self._state.status

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have `subscriber` called with each new configuration after it is in force, on the thread that reloads."""
        self._subscribers.append(subscriber)

    def reload(self) -> bool:
        """Read the files now. True: they are good and in force. False: the last good ones stay (see `status`)."""
        good, news = self._attempt()
        self._publish(news)
        return good

    async def watch(self, stop: asyncio.Event) -> None:
        """Reload whenever a file changes, until `stop` is set. Never raises for what happens to the files."""
        while not stop.is_set():
            await self._reload_if_changed()  # what happened while nothing was watched
            try:
                await self._watch_folder(stop)
            except (OSError, RuntimeError) as error:
                # The folder is gone, or the system is out of watches: look at the files until it gets better.
                log.debug("not watching %s: %s", self.path, error)
                await _pause(stop, RETRY_SECONDS)

    async def _watch_folder(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until the folder at `path` is another one than the one being watched."""
        folder = _identity(self.path)
        async for _ in watchfiles.awatch(
            self.path,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            stop_event=_Follows(stop),
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
        ):
            await self._reload_if_changed()
            if _identity(self.path) != folder:
                raise FileNotFoundError(self.path)

    async def _reload_if_changed(self) -> None:
        if _look(self.path) == self._looked:
            return
        _, news = await asyncio.to_thread(self._attempt)
        self._publish(news)

    def _attempt(self) -> tuple[bool, Config | None]:
        """(the files are good, the configuration where it is a new one)."""
        with self._loading:
            # Before reading: a change that comes while the files are read is then seen as one afterwards.
            self._looked = _look(self.path)
            before = self._state
            try:
                config = self._load(before.config.files)
            except ConfigError as error:
                self._keep(before, error)
                return False, None
            if config.fingerprint == before.config.fingerprint:
                self._state = _State(before.config, replace(before.status, last_error=None, failed_at=None))
                return True, None
            self._state = self._good(config)
            return True, config

    def _load(self, must_exist: Collection[str]) -> Config:
        return load(self.path, self._checks, known=self._known, must_exist=must_exist)

    def _good(self, config: Config) -> _State:
        log.info("configuration loaded from %s (%s)", config.path, config.fingerprint[:12])
        for warning in config.warnings:
            log.warning("%s", warning)
        return _State(config, ConfigStatus(self._now(), config.fingerprint, warnings=config.warnings))

    def _keep(self, before: _State, error: ConfigError) -> None:
        log.error("configuration not reloaded, the last good one stays in force:\n%s", error)
        status = replace(before.status, last_error=error.problems, failed_at=self._now())
        self._state = _State(before.config, status)

    def _publish(self, config: Config | None) -> None:
        if config is None:
            return
        for subscriber in self._subscribers:
            try:
                subscriber(config)
            except Exception:
                log.exception("a part of the program could not take the new configuration")


class _Follows(asyncio.Event):
    """Set when `other` is; `awatch` sets its event when it is cancelled, which must not stop everybody else."""

    def __init__(self, other: asyncio.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _look(folder: Path) -> _Signature:
    """What tells one state of the files from another without reading them. Follows symbolic links."""
    return tuple(_signature(folder / name) for name in (*FILES, *(str(Path(n).with_suffix(".yml")) for n in FILES)))


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        stat = folder.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
