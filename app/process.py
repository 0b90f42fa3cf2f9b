"""What a process owes the machine it runs on: one per data folder, a port, an end when it is told or left alone.

A program that starts the sidecar gives it its standard input (`--exit-with-stdin`), its own pid (`--watch-pid`), or
both. The pipe closes with the last process that holds it, so a helper that inherited it can keep it open; a pid can be
watched whatever was inherited. A watch on the parent's pid alone would miss a launcher that ends at once and leaves us
to init.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.errors import StartupError

if TYPE_CHECKING:
    import psutil

log = logging.getLogger(__name__)

EXIT_LOCKED: Final = 75
"""Another sidecar runs on the same data folder (sysexits' EX_TEMPFAIL)."""
EXIT_PORT: Final = 69
"""The port cannot be had (sysexits' EX_UNAVAILABLE)."""
WATCH_SECONDS: Final = 1.0
"""Between two looks at a watched process; with the orderly end it stays well under the 5 s a parent may count on."""


@dataclass(frozen=True, slots=True)
class Parent:
    """Whom the sidecar lives for. `pid`: end when this process has ended; `stdin`: end when standard input has."""

    pid: int | None = None
    stdin: bool = False


@contextmanager
def no_collections() -> Iterator[None]:
    """No garbage collections within, until somebody turns them on: what a start makes is no garbage, and looking for
    some took a fifth of it. At the end they are on.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def parent_watch(parent: Parent, stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the running loop when standard input or the watched process ends (twice where both do).

    Raises `StartupError` where there is no such process now.
    """
    loop = asyncio.get_running_loop()
    watching: asyncio.Task[None] | None = None
    if parent.pid is not None:
        watching = asyncio.create_task(_watch(_running(parent.pid), stop), name="watch-pid")
    if parent.stdin:
        # A thread, and a daemon: a read of a pipe cannot be cancelled, and Windows' pipes cannot be polled.
        threading.Thread(target=_until_eof, args=(loop, stop), name="stdin", daemon=True).start()
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()


def _running(pid: int) -> psutil.Process:
    import psutil  # 20 ms, for those who ask for it

    try:
        return psutil.Process(pid)
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        raise StartupError(f"--watch-pid: there is no process {pid}") from None
    except psutil.AccessDenied:
        raise StartupError(f"--watch-pid: process {pid} may not be looked at") from None


async def _watch(process: psutil.Process, stop: Callable[[], None]) -> None:
    while _alive(process):  # noqa: ASYNC110 (another process's end: nothing of ours can signal it)
        await asyncio.sleep(WATCH_SECONDS)
    log.info("process %d has ended, so the sidecar does", process.pid)
    stop()


def _alive(process: psutil.Process) -> bool:
    """False also for a pid that another process has by now, and for a zombie: dead, and its own parent has not read
    its status."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _until_eof(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    # By its number: the text layer's lock would be held while the interpreter ends, which is fatal.
    with contextlib.suppress(OSError):  # closed from the start counts as ended
        while os.read(0, 4096):
            pass
    log.info("standard input has ended, so the sidecar does")
    with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
        loop.call_soon_threadsafe(stop)


@contextmanager
def signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the running loop for every signal that asks a process to end, CTRL_BREAK on Windows included."""
    loop = asyncio.get_running_loop()
    wanted = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":
        wanted.append(signal.SIGBREAK)
    before = {number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop)) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def private_files() -> Iterator[None]:
    """What is written from here on is its owner's alone: the database holds conversations, private ones too."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, so that whoever knows the port may connect while the rest still starts.

    Raises `StartupError` with `EXIT_PORT`.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:  # the second: a name that no DNS can hold
        raise StartupError(f"cannot listen on {host}: {error}", EXIT_PORT) from None
    with contextlib.closing(listener):
        try:
            if os.name == "posix":
                # On Windows this would let two programs listen on one port.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
            listener.setblocking(False)
        except OSError as error:
            detail = f"cannot listen on {host}:{port}: {error.strerror or error}; set SIDECAR_PORT to another, or 0"
            raise StartupError(detail, EXIT_PORT) from None
        yield listener


@contextmanager
def lock_data_folder(folder: Path) -> Iterator[None]:
    """Hold the data folder: one sidecar per database. The operating system lets go when the process dies.

    Raises `StartupError` with `EXIT_LOCKED` and the pid of the holder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "sidecar.lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartupError(f"cannot use the data folder {folder}: {error.strerror or error}") from None
    with file:
        if not _try_lock(file.fileno()):
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            detail = (
                f"another sidecar (pid {holder}) runs on the data folder {folder}; stop it, or set SIDECAR_DATA_DIR"
            )
            raise StartupError(detail, EXIT_LOCKED)
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, and only the pid is not told
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def _try_lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            # Beyond the text, so that the pid stays readable while it is locked.
            os.lseek(handle, 1_000_000, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
