"""What a workspace knows, over real HTTP: chunks in and out, search, isolation, an index that is taken away."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

RETRY = {
    "path": "app/retry.py",
    "text": "def decide_retry(error):\n    return error.transient\n",
    "symbol": "decide_retry",
}
LEDGER = {"path": "app/ledger.py", "text": "class UsageLedger:\n    def settle(self, row): ...\n", "start_line": 10}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path_factory.mktemp("memory"),
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
        profiles=[{"id": name} for name in ("open", "other", "third", "lost")]
        + [{"id": "work", "block_cloud_apis": True}],
    ) as running:
        yield running


async def post(sidecar: RunningSidecar, path: str, status: int = 200, **body: Any) -> Any:
    response = await sidecar.http.post(f"/api/v1/{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def found(sidecar: RunningSidecar, query: str, **body: Any) -> list[str]:
    return [chunk["path"] for chunk in (await post(sidecar, "search", query=query, **body))["chunks"]]


async def part(sidecar: RunningSidecar) -> Any:
    return (await sidecar.http.get("/api/v1/health")).json()["parts"]["index"]


async def test_an_empty_workspace_knows_nothing_and_says_so(sidecar: RunningSidecar) -> None:
    answer = await post(sidecar, "search", query="anything", workspace="third")
    assert (answer["workspace"], answer["chunks"]) == ("third", [])
    await post(sidecar, "chunks", delete_paths=["nothing.py"], workspace="third")
    assert (await part(sidecar))["status"] == "ok"


async def test_chunks_are_found_with_lines_and_symbol(sidecar: RunningSidecar) -> None:
    stored = await post(sidecar, "chunks", chunks=[RETRY, LEDGER])
    assert (stored["workspace"], len(stored["ids"])) == ("open", 2)
    assert stored["searchable"] in ("meaning and words", "words")
    (first, *_) = (await post(sidecar, "search", query="where is decide_retry", k=2))["chunks"]
    assert (first["path"], first["symbol"], first["start_line"], first["end_line"]) == (
        "app/retry.py", "decide_retry", 1, 2,
    )  # fmt: skip
    assert (first["id"], first["text"]) == (stored["ids"][0], RETRY["text"])
    assert first["lexical_rank"] == 1
    (settle, *_) = (await post(sidecar, "search", query="UsageLedger settle", k=1))["chunks"]
    assert (settle["start_line"], settle["end_line"]) == (10, 11)


async def test_storing_again_replaces_and_deleting_forgets(sidecar: RunningSidecar) -> None:
    here: dict[str, Any] = {"workspace": "third"}
    first = await post(sidecar, "chunks", chunks=[RETRY, LEDGER], **here)
    again = await post(sidecar, "chunks", chunks=[RETRY], **here)
    assert again["ids"] == first["ids"][:1]
    assert sorted(await found(sidecar, "retry ledger", **here)) == ["app/ledger.py", "app/retry.py"]
    changed = {**RETRY, "text": "def decide_retry(error):\n    raise NotImplementedError\n"}
    await post(sidecar, "chunks", chunks=[changed], delete_paths=["app/retry.py", "app/ledger.py"], **here)
    (only,) = (await post(sidecar, "search", query="retry ledger", **here))["chunks"]
    assert "NotImplementedError" in only["text"]


async def test_no_workspace_sees_anothers_rows(sidecar: RunningSidecar) -> None:
    mine = {"id": "same-id", "path": "secret.py", "text": "launch_code = 'zebra'"}
    await post(sidecar, "chunks", chunks=[mine], workspace="work")
    await post(sidecar, "chunks", chunks=[{**mine, "text": "launch_code = 'giraffe'"}], workspace="other")
    assert await found(sidecar, "zebra launch_code", workspace="third") != ["secret.py"]
    (other,) = (await post(sidecar, "search", query="zebra launch_code", workspace="other"))["chunks"]
    assert other["text"] == "launch_code = 'giraffe'"
    await post(sidecar, "chunks", delete_paths=["secret.py"], workspace="other")
    assert await found(sidecar, "zebra", workspace="work") == ["secret.py"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("chunks", {}, "body"),
        ("chunks", {"chunks": [{"path": "a", "text": ""}]}, "chunks[0].text"),
        ("chunks", {"chunks": [{"path": "a", "text": "x", "id": "x' OR 1=1 --"}]}, "chunks[0].id"),
        ("chunks", {"chunks": [{"path": "a", "text": "x", "start_line": 2, "end_line": 1}]}, "chunks[0]"),
        ("chunks", {"chunks": [{"path": "a", "text": "x", "id": "i"}] * 2}, "chunks[1].id"),
        ("search", {"query": " "}, "body"),
        ("search", {"query": "x", "k": 0}, "k"),
        ("search", {"query": "x", "k": 101}, "k"),
        ("search", {"query": "x", "where": "1=1"}, "where"),
    ],
)
async def test_what_makes_no_sense_names_its_field(
    sidecar: RunningSidecar, path: str, body: dict[str, Any], field: str
) -> None:
    problem = await post(sidecar, path, 422, **body)
    assert problem["code"] == "invalid_request"
    named = [error["field"] for error in problem.get("errors") or []] or [problem.get("field")]
    assert named == [field]


@pytest.mark.parametrize("path", ["chunks", "search"])
async def test_an_unknown_workspace_is_refused(sidecar: RunningSidecar, path: str) -> None:
    body = {"query": "x"} if path == "search" else {"delete_paths": ["x"]}
    problem = await post(sidecar, path, 422, workspace="nobody", **body)
    assert problem["code"] == "unknown_workspace"


async def test_a_removed_index_is_said_and_can_be_made_again(sidecar: RunningSidecar) -> None:
    here: dict[str, Any] = {"workspace": "lost"}
    await post(sidecar, "chunks", chunks=[RETRY], **here)
    for table in sidecar.services.memory.index.folder.iterdir():
        shutil.rmtree(table, ignore_errors=True)
    assert (await post(sidecar, "search", 503, query="retry", **here))["code"] == "index_unavailable"
    health = await part(sidecar)
    assert health["status"] == "degraded"
    assert health["reason"]
    assert "index" in health["remedy"]
    answer = await post(sidecar, "chat", query="hello", stream=False, **here)
    assert answer["finish_reason"] == "stop"
    for workspace in ("lost", "open", "other", "third", "work"):
        await post(sidecar, "chunks", chunks=[RETRY], workspace=workspace)
    assert await found(sidecar, "retry", **here) == ["app/retry.py"]
    assert (await part(sidecar))["status"] == "ok"


async def test_retrieval_puts_what_was_found_into_the_context(sidecar: RunningSidecar) -> None:
    here: dict[str, Any] = {"workspace": "third", "retrieve": True, "query": "where does decide_retry look?"}
    files = [{"path": f"app/f{n}.py", "text": f"def helper_{n}(): return {n}\n"} for n in range(20)]
    await post(sidecar, "chunks", chunks=[RETRY, *files], workspace="third")
    answer = await post(sidecar, "chat", stream=False, **here)
    chunks = [b for b in answer["context"]["blocks"] if b["kind"] == "chunk"]
    assert chunks[0]["id"].startswith("chunk:app/retry.py:1-")
    assert chunks[0]["priority"] == 2
    assert answer["warnings"] == []
    explained = await post(sidecar, "explain", include_messages=True, **here)
    assert "decide_retry(error)" in str(explained["messages"])
    without = await post(sidecar, "explain", include_messages=True, **(here | {"retrieve": False}))
    assert "decide_retry(error)" not in str(without["messages"])


async def test_retrieval_in_a_session_reads_the_sessions_workspace(sidecar: RunningSidecar) -> None:
    await post(sidecar, "chunks", chunks=[RETRY], workspace="third")
    session = (await post(sidecar, "sessions", 201, workspace="third"))["id"]
    body: dict[str, Any] = {"session_id": session, "retrieve": True, "query": "decide_retry", "stream": False}
    answer = await post(sidecar, "chat", **body)
    assert any(b["id"].startswith("chunk:app/retry.py") for b in answer["context"]["blocks"])


async def test_what_was_stored_in_private_stays_private(sidecar: RunningSidecar) -> None:
    """Also when the workspace is not private any more."""
    await post(sidecar, "chunks", chunks=[RETRY], workspace="work")
    holder = sidecar.services.policies
    config = holder.current.config
    opened = [p.model_copy(update={"block_cloud_apis": False}) for p in config.profiles.profiles]
    profiles = config.profiles.model_copy(update={"profiles": tuple(opened)})
    changed = type(config)(
        config.models, config.routing, profiles, config.agents, "x", config.path, config.files
    )  # fmt: skip
    holder.configured(changed)
    try:
        body: dict[str, Any] = {"workspace": "work", "query": "decide_retry"}
        assert (await post(sidecar, "explain", retrieve=True, **body))["route"]["local_only"] is True
        assert (await post(sidecar, "explain", **body))["route"]["local_only"] is False
    finally:
        holder.configured(config)
