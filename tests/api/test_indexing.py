"""A folder indexed over real HTTP: events, one object, lists, what is refused, what is dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path_factory.mktemp("indexing"),
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
        profiles=[{"id": "open"}, {"id": "other"}, {"id": "work", "block_cloud_apis": True}],
    ) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "app").mkdir(parents=True)
    (root / "app" / "retry.py").write_text("def decide_retry(error):\n    return error.transient\n")
    (root / "README.md").write_text("# Zebra\n\nHow the zebra crosses.\n")
    (root / ".gitignore").write_text("*.log\n")
    (root / "noise.log").write_text("zebra\n")
    (root / "picture.png").write_bytes(b"\x89PNG\0\0")
    return root


async def post(sidecar: RunningSidecar, route: str, status: int = 200, **body: Any) -> Any:
    response = await sidecar.http.post(f"/api/v1/{route}", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def whole(sidecar: RunningSidecar, folder: Path, **body: Any) -> Any:
    return await post(sidecar, "index", path=str(folder), stream=False, **body)


async def found(sidecar: RunningSidecar, query: str, **body: Any) -> list[str]:
    return [chunk["path"] for chunk in (await post(sidecar, "search", query=query, **body))["chunks"]]


async def drop(sidecar: RunningSidecar, status: int = 200, **params: str) -> Any:
    response = await sidecar.http.delete("/api/v1/index", params=params)
    assert response.status_code == status, response.text
    return response.json()


async def test_progress_comes_as_events_and_done_is_the_last(sidecar: RunningSidecar, folder: Path) -> None:
    body = {"path": str(folder)}
    async with sidecar.http.stream("POST", "/api/v1/index", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = (await response.aread()).decode()
    events = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if "id: " in block
    ]
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert {event["event"] for event in events[:-1]} == {"progress"}
    assert events[-1]["event"] == "done"
    done = json.loads(events[-1]["data"])
    assert (done["state"], done["path"], done["workspace"]) == ("done", str(folder), "open")
    progress = done["progress"]
    assert (progress["files_indexed"], progress["files_to_index"]) == (3, 4)
    assert progress["skipped"] == {"binary": 1, "ignored": 1}
    assert progress["chunks"] == 3
    (first, *_) = (await post(sidecar, "search", query="where is decide_retry"))["chunks"]
    assert (first["path"], first["symbol"], first["language"]) == ("app/retry.py", "decide_retry", "python")
    await drop(sidecar, path=str(folder))


async def test_a_second_run_reads_only_what_changed(sidecar: RunningSidecar, folder: Path) -> None:
    first = await whole(sidecar, folder)
    assert first["progress"]["files_indexed"] == 3
    again = await whole(sidecar, folder)
    assert (again["progress"]["files_indexed"], again["progress"]["files_unchanged"]) == (0, 3)
    (folder / "app" / "retry.py").write_text("def giraffe_policy():\n    return 7\n")
    (folder / "README.md").unlink()
    third = await whole(sidecar, folder)
    assert (third["progress"]["files_indexed"], third["progress"]["files_removed"]) == (1, 1)
    assert await found(sidecar, "giraffe_policy", k=1) == ["app/retry.py"]
    assert "README.md" not in await found(sidecar, "zebra")
    await drop(sidecar, path=str(folder))
    assert await found(sidecar, "giraffe_policy") == []


async def test_workspaces_and_folders_are_kept_apart(sidecar: RunningSidecar, folder: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "README.md").write_text("# Ostrich\n")
    await whole(sidecar, folder, workspace="work")
    assert await found(sidecar, "zebra", workspace="other") == []
    assert (await whole(sidecar, second, workspace="work"))["prefix"] == "second/"
    assert (await found(sidecar, "ostrich", workspace="work"))[0] == "second/README.md"
    assert (await found(sidecar, "zebra", workspace="work"))[0] == "README.md"
    assert sidecar.services.memory.was_private("work")
    listed = (await sidecar.http.get("/api/v1/index", params={"workspace": "work"})).json()["folders"]
    assert [(f["path"], f["files"], f["state"]) for f in listed] == [(str(folder), 3, "done"), (str(second), 1, "done")]
    await drop(sidecar, workspace="work", path=str(second))
    assert "second/README.md" not in await found(sidecar, "ostrich", workspace="work")
    assert len((await drop(sidecar, workspace="work"))["dropped"]) == 1
    assert await found(sidecar, "zebra", workspace="work") == []


async def test_two_requests_for_one_folder_share_a_run(sidecar: RunningSidecar, folder: Path) -> None:
    both = await asyncio.gather(whole(sidecar, folder), whole(sidecar, folder))
    assert both[0]["id"] == both[1]["id"]
    begun = await post(sidecar, "index", 202, path=str(folder), wait=False)
    assert begun["id"] != both[0]["id"]
    stopped = await post(sidecar, "index/stop", path=str(folder))
    assert stopped["folders"][0]["state"] in ("cancelled", "done")
    await drop(sidecar, path=str(folder))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("relative/folder", "absolute"),
        ("/nowhere/at/all", "no such folder"),
        (str(Path(__file__)), "a file"),
        ("/", "whole file system"),
        ("", "path"),
    ],
)
async def test_a_path_that_makes_no_sense_is_refused_by_name(sidecar: RunningSidecar, path: str, says: str) -> None:
    problem = await post(sidecar, "index", 422, path=path)
    assert problem["code"] == "invalid_request"
    assert says in json.dumps(problem)
    named = [error["field"] for error in problem.get("errors") or []] or [problem.get("field")]
    assert named == ["path"]


async def test_unknown_workspaces_folders_and_fields_are_refused(sidecar: RunningSidecar, folder: Path) -> None:
    assert (await post(sidecar, "index", 422, path=str(folder), workspace="no"))["code"] == "unknown_workspace"
    assert (await post(sidecar, "index", 422, path=str(folder), recursive=True))["code"] == "invalid_request"
    assert (await drop(sidecar, 404, path=str(folder)))["code"] == "index_not_found"
    assert (await drop(sidecar, 404, path="/nul\0byte"))["code"] == "index_not_found"
    assert (await post(sidecar, "index/stop", 404, path=str(folder)))["code"] == "index_not_found"


async def test_a_folder_within_an_indexed_one_is_refused(sidecar: RunningSidecar, folder: Path) -> None:
    await whole(sidecar, folder)
    assert "is part of" in (await post(sidecar, "index", 422, path=str(folder / "app")))["detail"]
    assert "drop that first" in (await post(sidecar, "index", 422, path=str(folder.parent)))["detail"]
    await drop(sidecar, path=str(folder))
