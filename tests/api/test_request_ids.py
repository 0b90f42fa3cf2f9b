"""An id that a client gave to two requests, one of them before the sidecar was started anew: two receipts all the same,
and nothing of one workspace is shown to a key of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.sidecar import RunningSidecar, running_sidecar

CONFIG: dict[str, Any] = {
    "models": [{"id": "builtin/extractive", "context_window": 100_000}],
    "rules": [{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    "profiles": [{"id": "open"}, {"id": "work", "block_cloud_apis": True}],
}


async def key_of(sidecar: RunningSidecar, workspace: str) -> dict[str, str]:
    body = {"name": f"for {workspace}", "workspace": workspace, "rights": ["chat", "usage"]}
    made = (await sidecar.http.post("/api/v1/keys", json=body)).json()
    return {"Authorization": f"Bearer {made['key']}"}


async def ask(sidecar: RunningSidecar, request_id: str, **options: Any) -> httpx.Response:
    body = {"query": "What is it about?", "stream": False, **options.pop("body", {})}
    headers = {"X-Request-Id": request_id, **options.pop("headers", {})}
    answer = await sidecar.http.post("/api/v1/chat", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def test_an_id_from_before_a_restart_gets_a_tail(tmp_path: Path) -> None:
    async with running_sidecar(tmp_path, **CONFIG) as sidecar:
        await ask(sidecar, "build-7", body={"workspace": "work", "metadata": {"client": "acme"}})
        feedback = {"score": 2, "note": "the merger is not in it"}
        await sidecar.http.post("/api/v1/requests/build-7/feedback", json=feedback)
        key = await key_of(sidecar, "open")
    async with running_sidecar(tmp_path) as sidecar:
        sidecar.http.headers.pop("Authorization")
        again = await ask(sidecar, "build-7", headers=key)
        named = again.headers["x-request-id"]
        assert named.startswith("build-7.")
        assert again.json()["request_id"] == named
        # Of the one before nothing is shown to this key, and nothing of it was changed.
        assert (await sidecar.http.get("/api/v1/requests/build-7", headers=key)).status_code == 404
        rows = sidecar.rows("SELECT request_id, workspace_profile_id FROM llm_usage_log ORDER BY created_at")
        assert [(r["request_id"], r["workspace_profile_id"]) for r in rows] == [("build-7", "work"), (named, "open")]
        (receipt,) = sidecar.rows("SELECT facts FROM request_receipts WHERE request_id = 'build-7'")
        assert "acme" in receipt["facts"]


async def test_rows_of_two_workspaces_under_one_id_are_shown_apart(tmp_path: Path) -> None:
    """As a database has them that an older sidecar wrote."""
    async with running_sidecar(tmp_path, **CONFIG) as sidecar:
        key = await key_of(sidecar, "open")
        await ask(sidecar, "one", body={"workspace": "work", "metadata": {"client": "acme"}})
        await sidecar.http.post("/api/v1/requests/one/feedback", json={"score": 2, "note": "the merger"})
        await ask(sidecar, "two", body={"workspace": "open"})
        await sidecar.services.database.write(
            lambda c: c.exec_driver_sql("UPDATE llm_usage_log SET request_id = 'one' WHERE request_id = 'two'")
        )
        shown = (await sidecar.http.get("/api/v1/requests/one", headers=key)).json()
        assert [attempt["workspace_profile_id"] for attempt in shown["attempts"]] == ["open"]
        assert (shown["receipt"], shown["feedback"]) == (None, None)
        whole = (await sidecar.http.get("/api/v1/requests/one")).json()
        assert whole["receipt"]["facts"]["workspace"] == "work"
        given = await sidecar.http.post("/api/v1/requests/one/feedback", json={"score": 5}, headers=key)
        assert given.status_code == 404, "the verdict that is there is another's"
        assert (await sidecar.http.get("/api/v1/requests/one")).json()["feedback"]["note"] == "the merger"


@pytest.mark.parametrize("given", ["0123456789abcdef0123456789abcdef.3", f"{'a' * 32}."])
async def test_an_id_that_reads_like_one_of_an_agents_requests_is_not_taken(tmp_path: Path, given: str) -> None:
    """What a run cost is read off the ids that begin with its own."""
    async with running_sidecar(tmp_path, **CONFIG) as sidecar:
        assert not (await ask(sidecar, given)).headers["x-request-id"].startswith(given[:33])
