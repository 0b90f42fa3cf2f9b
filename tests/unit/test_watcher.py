"""The store keeps the last good configuration through whatever an editor, or a person, does to the files."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.config.loader import Config
from app.config.watcher import ConfigStore
from app.errors import ConfigError, ConfigProblem

ROUTING = "rules: [{name: default, conditions: {}, model: ollama/llama3}]\n"
PROFILES = "profiles: [{id: work, block_cloud_apis: true}]\n"


def models(window: int) -> str:
    return f"models: [{{id: ollama/llama3, context_window: {window}}}]\n"


def window(store: ConfigStore) -> int | None:
    return store.current.models.models[0].context_window


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "config"
    fill(made, 1000)
    return made


def fill(folder: Path, size: int) -> None:
    folder.mkdir()
    (folder / "models.yaml").write_text(models(size))
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "profiles.yaml").write_text(PROFILES)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@asynccontextmanager
async def watching(store: ConfigStore) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(store.watch(stop))
    await asyncio.sleep(0.3)  # the watch is set up in a thread
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the store has nothing to wait on: readers take what is current
            await asyncio.sleep(0.02)


def test_the_first_configuration_must_be_good(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.yaml: not found"):
        ConfigStore(tmp_path)


def test_reload_swaps_tells_and_reports(folder: Path) -> None:
    clock = Clock()
    store = ConfigStore(folder, now=clock)
    seen: list[Config] = []
    store.subscribe(seen.append)
    first = store.status
    assert first.last_error is None
    assert first.fingerprint == store.current.fingerprint

    assert store.reload(), "nothing changed: still good"
    assert seen == []
    assert store.status.loaded_at == first.loaded_at

    (folder / "models.yaml").write_text(models(2000))
    assert store.reload()
    assert window(store) == 2000
    assert seen == [store.current]
    assert store.status.loaded_at > first.loaded_at


def test_a_bad_file_keeps_the_last_good_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ConfigStore(folder, now=Clock())
    good = store.current
    seen: list[Config] = []
    store.subscribe(seen.append)
    (folder / "models.yaml").write_text("models: [\n")
    assert not store.reload()
    assert store.current is good
    assert seen == []
    assert store.status.fingerprint == good.fingerprint
    bad = store.status
    assert [p.file for p in bad.last_error or ()] == ["models.yaml"]
    assert bad.failed_at is not None
    assert "the last good one stays in force" in caplog.text
    assert "models.yaml:1: YAML syntax" in caplog.text

    (folder / "models.yaml").write_text(models(1000))
    assert store.reload()
    assert store.status.last_error is None
    assert store.status.failed_at is None
    assert store.current is good, "the same contents are the same configuration"


def test_profiles_that_vanish_do_not_open_a_private_workspace(folder: Path) -> None:
    store = ConfigStore(folder)
    (folder / "profiles.yaml").unlink()
    assert not store.reload()
    profile = store.current.profile("work")
    assert profile is not None
    assert profile.block_cloud_apis
    assert "put it back, or restart" in str(store.status.last_error and store.status.last_error[0])


@pytest.mark.parametrize("half_saved", ["", "\n", "# profiles: ...\n"])
def test_profiles_saved_by_half_do_not_open_a_private_workspace(folder: Path, half_saved: str) -> None:
    """An editor that empties the file before it writes it, a full disk: nobody has said that nothing is private."""
    (folder / "profiles.yaml").write_text("profiles: [{id: default, block_cloud_apis: true}]\n")
    store = ConfigStore(folder)
    assert store.current.is_private("default")
    (folder / "profiles.yaml").write_text(half_saved)
    assert not store.reload()
    assert store.current.is_private("default")
    ((problem),) = store.status.last_error or ()
    assert str(problem) == "profiles.yaml: said something and is empty now; restart if that is meant"


def test_a_file_that_never_said_anything_may_go_on_so(folder: Path) -> None:
    (folder / "agents.yaml").write_text("# none yet\n")
    store = ConfigStore(folder)
    (folder / "models.yaml").write_text(models(2000))
    assert store.reload()
    (folder / "agents.yaml").unlink()
    assert store.reload()


def test_a_subscriber_that_fails_does_not_stop_the_others(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ConfigStore(folder)
    seen: list[Config] = []

    def broken(config: Config) -> None:
        raise ValueError(config.fingerprint)

    store.subscribe(broken)
    store.subscribe(seen.append)
    (folder / "models.yaml").write_text(models(2000))
    assert store.reload()
    assert seen == [store.current]
    assert "could not take the new configuration" in caplog.text


def test_checks_hold_for_reloads_too(folder: Path) -> None:
    def small(config: Config) -> list[ConfigProblem]:
        sizes = [m.context_window or 0 for m in config.models.models]
        return [ConfigProblem("models.yaml", "models[0]", "too large")] if max(sizes) > 5000 else []

    store = ConfigStore(folder, [small])
    (folder / "models.yaml").write_text(models(6000))
    assert not store.reload()
    assert window(store) == 1000


async def test_saving_in_place_reloads(folder: Path) -> None:
    store = ConfigStore(folder)
    async with watching(store):
        (folder / "models.yaml").write_text(models(2000))
        await until(lambda: window(store) == 2000)
        (folder / "models.yaml").write_text("models: nonsense\n")
        await until(lambda: store.status.last_error is not None)
        assert window(store) == 2000
        (folder / "models.yaml").write_text(models(3000))
        await until(lambda: window(store) == 3000)
        assert store.status.last_error is None


async def test_editors_that_replace_the_file_by_rename(folder: Path) -> None:
    store = ConfigStore(folder)
    async with watching(store):
        for size in (2000, 3000, 4000):
            (folder / ".models.yaml.swp").write_text(models(size))
            os.replace(folder / "models.yaml", folder / "models.yaml~")
            os.replace(folder / ".models.yaml.swp", folder / "models.yaml")
            await until(lambda wanted=size: window(store) == wanted)  # type: ignore[misc]


async def test_a_file_deleted_and_brought_back(folder: Path) -> None:
    store = ConfigStore(folder)
    async with watching(store):
        (folder / "routing.yaml").unlink()
        await until(lambda: store.status.last_error is not None)
        assert store.current.routing.rules[0].name == "default"
        (folder / "routing.yaml").write_text(ROUTING.replace("default", "again"))
        await until(lambda: store.current.routing.rules[0].name == "again")
        assert store.status.last_error is None


async def test_other_files_do_not_reload(folder: Path) -> None:
    store = ConfigStore(folder)
    before = store.current
    async with watching(store):
        (folder / "notes.txt").write_text("x")
        (folder / "models.yaml.bak").write_text("x")
        await asyncio.sleep(0.5)
        assert store.current is before
        assert store.status.last_error is None


async def test_the_folder_is_replaced(folder: Path) -> None:
    """As a checkout or an unpacked archive does it: the watched folder is gone, another has its name."""
    store = ConfigStore(folder)
    async with watching(store):
        shutil.rmtree(folder)
        await until(lambda: store.status.last_error is not None)
        fill(folder, 7000)
        await until(lambda: window(store) == 7000)
        await asyncio.sleep(0.3)
        (folder / "models.yaml").write_text(models(8000))
        await until(lambda: window(store) == 8000)


def mount(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder)
    fill(tmp_path / "one", 1000)
    fill(tmp_path / "two", 2000)
    folder.mkdir()
    (folder / "..data").symlink_to(tmp_path / "one")
    for name in ("models.yaml", "routing.yaml", "profiles.yaml"):
        (folder / name).symlink_to(Path("..data") / name)


async def test_links_turned_to_another_folder(folder: Path, tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: the files are links through `..data`, which is swapped."""
    mount(folder, tmp_path)
    store = ConfigStore(folder)
    async with watching(store):
        (folder / "..new").symlink_to(tmp_path / "two")
        os.replace(folder / "..new", folder / "..data")
        await until(lambda: window(store) == 2000)


async def test_cancelling_the_watch_stops_nobody_else(folder: Path) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(ConfigStore(folder).watch(stop))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not stop.is_set()
