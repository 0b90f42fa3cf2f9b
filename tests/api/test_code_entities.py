"""A folder that is indexed brings its symbols along, and takes them with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = '"""Doors."""\nclass Door:\n    """Opens."""\n    def open(self): ...\n'
GATE = "from app.base import Door\n\nclass Gate(Door):\n    def lock(self):\n        return Door()\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path_factory.mktemp("code-entities"),
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
        profiles=[{"id": "open"}, {"id": "work", "block_cloud_apis": True}],
    ) as running:
        yield running


async def index(sidecar: RunningSidecar, folder: Path, workspace: str = "open") -> None:
    body = {"path": str(folder), "workspace": workspace, "stream": False}
    response = await sidecar.http.post("/api/v1/index", json=body)
    assert response.status_code == 200, response.text


async def entities(sidecar: RunningSidecar, **params: Any) -> Any:
    response = await sidecar.http.get("/api/v1/entities", params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def symbols(sidecar: RunningSidecar, workspace: str = "open") -> set[str]:
    found = await entities(sidecar, workspace=workspace, kind="class,method,function", limit=200)
    return {entity["name"] for entity in found["entities"] if entity["path"]}


async def test_symbols_come_and_go_with_their_files(sidecar: RunningSidecar, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "base.py").write_text(BASE)
    (folder / "app" / "gate.py").write_text(GATE)
    await index(sidecar, folder)
    assert await symbols(sidecar) == {"Door", "Door.open", "Gate", "Gate.lock"}
    found = await entities(sidecar, q="Gate", hops=2, limit=50)
    first = found["entities"][0]
    assert (first["name"], first["source"], first["line"], first["private"]) == ("Gate", "code", 3, False)
    assert first["path"].endswith("app/gate.py")
    ids = {entity["id"]: entity["name"] for entity in found["entities"]}
    assert ("Gate", "inherits", "Door") in {(ids[r["from"]], r["kind"], ids[r["to"]]) for r in found["relations"]}
    hops = {entity["name"]: entity["hops"] for entity in found["entities"]}
    assert (hops["Door"], hops["Door.open"]) == (1, 2)

    (folder / "app" / "gate.py").write_text(GATE.replace("lock", "bolt"))
    await index(sidecar, folder)
    assert await symbols(sidecar) == {"Door", "Door.open", "Gate", "Gate.bolt"}

    (folder / "app" / "base.py").unlink()
    await index(sidecar, folder)
    assert await symbols(sidecar) == {"Gate", "Gate.bolt"}
    (door,) = (await entities(sidecar, q="Door", limit=1))["entities"]
    assert door["path"] is None, "it is named by who inherits from it, and defined by nobody"

    response = await sidecar.http.delete("/api/v1/index", params={"workspace": "open", "path": str(folder)})
    assert response.status_code == 200
    assert (await entities(sidecar))["entities"] == []


async def test_what_is_read_in_a_private_workspace_is_private(sidecar: RunningSidecar, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(BASE)
    await index(sidecar, tmp_path, "work")
    found = (await entities(sidecar, workspace="work", limit=200))["entities"]
    assert found
    assert all(entity["private"] for entity in found)
    assert (await entities(sidecar, workspace="open"))["entities"] == []
