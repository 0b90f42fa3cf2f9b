"""Client keys: made once, kept as hashes, bound to a workspace and to rights."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.api.application import openapi_document
from app.api.rights import GRANTS
from tests.fakes.command_line import cli
from tests.fakes.laboratory import Laboratory, laboratory
from tests.fakes.sidecar import running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = {"query": "hello", "stream": False}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    async with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(running: Laboratory) -> Laboratory:
    running.reset()
    return running


async def make(lab: Laboratory, name: str, workspace: str | None, *rights: str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "workspace": workspace, "rights": list(rights or ("chat",)), **more}
    answer = await lab.http.post("/api/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def files_of(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def using(lab: Laboratory, key: str, header: str = "Authorization") -> httpx.AsyncClient:
    value = f"Bearer {key}" if header == "Authorization" else key
    return httpx.AsyncClient(base_url=lab.sidecar.url, headers={header: value}, trust_env=False, timeout=30)


async def listed(lab: Laboratory, key_id: str) -> dict[str, Any]:
    keys = (await lab.http.get("/api/v1/keys")).json()["keys"]
    found: dict[str, Any] = next(k for k in keys if k["id"] == key_id)
    return found


async def test_a_key_is_shown_once_and_kept_as_a_hash(lab: Laboratory) -> None:
    made = await make(lab, "once", "work")
    text = made["key"]
    assert len(text.rpartition("-")[2]) >= 40 or len(text) >= 60
    everything = (await lab.http.get("/api/v1/keys")).text
    assert text not in everything
    assert made["id"] in everything
    with closing(sqlite3.connect(lab.sidecar.settings.database_path)) as database:
        (stored,) = database.execute("SELECT hash FROM client_keys WHERE id = ?", [made["id"]]).fetchone()
    assert stored == hashlib.sha256(text.encode()).digest()
    written = [file for file in files_of(lab.sidecar.settings.data_dir) if text.encode() in file.read_bytes()]
    assert written == []


@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
async def test_it_opens_the_door_in_both_ways(lab: Laboratory, header: str) -> None:
    made = await make(lab, f"door-{header}", "work")
    async with using(lab, made["key"], header) as http:
        answer = await http.post("/api/v1/chat", json=ASK)
    assert answer.status_code == 200
    (row,) = lab.rows(answer.json()["request_id"])
    assert row["workspace_profile_id"] == "work"
    assert (await listed(lab, made["id"]))["last_used_at"] is not None


async def test_a_wrong_secret_behind_a_right_id_opens_nothing(lab: Laboratory) -> None:
    made = await make(lab, "guess", None, "admin")
    assert (await listed(lab, made["id"]))["last_used_at"] is None
    wrong = [
        made["key"][:-1] + ("A" if made["key"][-1] != "A" else "B"),
        made["key"] + "A",
        made["key"][:-1],
        made["id"],
    ]
    for text in (*wrong, "sk-sidecar-", f"sk-sidecar-{'0' * 12}-{'A' * 43}", made["key"].upper()):
        async with using(lab, text) as http:
            assert (await http.get("/api/v1/models")).status_code == 401, text
    async with httpx.AsyncClient(base_url=lab.sidecar.url, trust_env=False) as http:
        assert (await http.get("/api/v1/models", params={"key": made["key"]})).status_code == 401
    assert (await listed(lab, made["id"]))["last_used_at"] is None


async def test_a_revoked_key_opens_nothing_and_stays_in_the_list(lab: Laboratory) -> None:
    made = await make(lab, "gone", "work")
    async with using(lab, made["key"]) as http:
        assert (await http.get("/api/v1/models")).status_code == 200
        assert (await lab.http.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
        assert (await http.get("/api/v1/models")).status_code == 401
    assert (await listed(lab, made["id"]))["revoked_at"] is not None
    assert (await lab.http.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
    # The name is free again, the key is not back.
    again = await make(lab, "gone", "work")
    assert again["id"] != made["id"]


async def test_a_bound_key_stays_in_its_workspace(lab: Laboratory) -> None:
    made = await make(lab, "bound", "work", "chat", "usage")
    owner = lab.http
    await owner.post("/api/v1/sessions", json={"id": "theirs", "workspace": "open"})
    await owner.post("/api/v1/sessions", json={"id": "ours", "workspace": "work"})
    await owner.post("/api/v1/chat", json={**ASK, "workspace": "open"})
    async with using(lab, made["key"]) as http:
        refused = [
            await http.post("/api/v1/chat", json={**ASK, "workspace": "open"}),
            await http.post("/api/v1/chat", json={**ASK, "session_id": "theirs"}),
            await http.post("/api/v1/explain", json={"query": "hello", "workspace": "open"}),
            await http.post("/api/v1/search", json={"query": "hello", "workspace": "open"}),
            await http.post("/api/v1/chunks", json={"workspace": "open", "delete_paths": ["a.py"]}),
            await http.post("/api/v1/sessions", json={"workspace": "open"}),
            await http.get("/api/v1/sessions", params={"workspace": "open"}),
            await http.get("/api/v1/sessions/theirs"),
            await http.get("/api/v1/sessions/theirs/messages"),
            await http.post("/api/v1/sessions/theirs/messages", json={"messages": [{"role": "user", "content": "x"}]}),
            await http.get("/api/v1/sessions/theirs/state"),
            await http.put("/api/v1/sessions/theirs/state", json={"goal": "x"}),
            await http.post("/api/v1/sessions/theirs/state/capture"),
            await http.delete("/api/v1/sessions/theirs"),
            await http.get("/api/v1/usage", params={"workspace": "open"}),
            await http.get("/api/v1/usage/records", params={"workspace": "open"}),
        ]
        assert [(r.status_code, r.json()["code"]) for r in refused] == [(403, "wrong_workspace")] * len(refused)
        allowed = [
            await http.post("/api/v1/chat", json=ASK),
            await http.post("/api/v1/chat", json={**ASK, "session_id": "ours"}),
            await http.get("/api/v1/sessions/ours"),
            await http.get("/api/v1/sessions"),
            await http.get("/api/v1/usage"),
            await http.get("/api/v1/usage/records"),
        ]
        assert [r.status_code for r in allowed] == [200] * len(allowed)
        assert {s["workspace"] for s in allowed[3].json()["sessions"]} == {"work"}
        assert {r["workspace_profile_id"] for r in allowed[5].json()["records"]} == {"work"}
    assert (await owner.get("/api/v1/sessions/theirs")).json()["message_count"] == 0


async def test_rights_are_held(lab: Laboratory) -> None:
    chat, usage = await make(lab, "chats", None, "chat"), await make(lab, "counts", None, "usage")
    admin = await make(lab, "rules", None, "admin")
    expected = {"chats": (200, 403, 403), "counts": (403, 200, 403), "rules": (200, 200, 200)}
    for made in (chat, usage, admin):
        async with using(lab, made["key"]) as http:
            statuses = (
                (await http.post("/api/v1/chat", json=ASK)).status_code,
                (await http.get("/api/v1/usage")).status_code,
                (await http.get("/api/v1/keys")).status_code,
            )
        assert statuses == expected[made["name"]], made["name"]


async def test_what_is_not_listed_needs_admin_and_is_closed_to_bound_keys(lab: Laboratory) -> None:
    chat = await make(lab, "default-deny", None, "chat", "usage")
    bound = await make(lab, "bound-admin", "work", "chat", "usage", "admin")
    document = openapi_document()
    closed = 0
    for path, operations in document["paths"].items():
        for method in operations:
            concrete = path.replace("{", "").replace("}", "")
            if path == "/health" or any(method.upper() in g.methods and g.path.fullmatch(concrete) for g in GRANTS):
                continue
            assert not path.startswith("/v1/"), "what is not in the table is answered there as what does not exist"
            closed += 1
            for made in (chat, bound):
                async with using(lab, made["key"]) as http:
                    answer = await http.request(method, concrete)
                assert (answer.status_code, answer.json()["code"]) == (403, "missing_right"), (method, path)
    assert closed >= 5
    async with using(lab, bound["key"]) as http:
        for path in ("/openapi.json", "/nothing", "/api/v1/chat/", "//api/v1/chat"):
            # Whole, as httpx takes two slashes for the beginning of a host.
            assert (await http.get(f"{lab.sidecar.url}{path}")).status_code == 403


async def test_what_is_not_spoken_under_v1_is_not_there_for_any_key(lab: Laboratory) -> None:
    """Codex, which speaks the Responses API alone, was told that its key reached beyond its workspace."""
    made = await make(lab, "codex", "work", "chat")
    async with using(lab, made["key"]) as http:
        for client in (http, lab.http):
            answer = await client.post("/v1/responses", json={"model": "auto", "input": "hi"})
            assert answer.status_code == 404
            assert "chat completions" in answer.json()["error"]["message"]
            assert (await client.post("/v1/audio/speech", json={})).json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "a", "workspace": "wrok"}, "unknown_workspace"),
        ({"name": "a"}, "invalid_request"),
        ({"name": "", "workspace": None}, "invalid_request"),
        ({"name": "x\n", "workspace": None}, "invalid_request"),
        ({"name": "a", "workspace": None, "rights": []}, "invalid_request"),
        ({"name": "a", "workspace": None, "rights": ["root"]}, "invalid_request"),
        ({"name": "a", "workspace": None, "key": "mine"}, "invalid_request"),
    ],
)
async def test_a_wrong_wish_is_refused(lab: Laboratory, body: dict[str, Any], code: str) -> None:
    answer = await lab.http.post("/api/v1/keys", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_name_is_given_once(lab: Laboratory) -> None:
    await make(lab, "twin", "work")
    answer = await lab.http.post("/api/v1/keys", json={"name": "twin", "workspace": "open"})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_exists")
    assert (await lab.http.delete("/api/v1/keys/000000000000")).status_code == 404


async def test_keys_outlive_a_restart(tmp_path: Path) -> None:
    async with running_sidecar(tmp_path) as sidecar:
        made = (await sidecar.http.post("/api/v1/keys", json={"name": "stays", "workspace": "work"})).json()
        gone = (await sidecar.http.post("/api/v1/keys", json={"name": "goes", "workspace": "work"})).json()
        await sidecar.http.delete(f"/api/v1/keys/{gone['id']}")
    async with running_sidecar(tmp_path) as sidecar:
        for key, status in ((made["key"], 200), (gone["key"], 401)):
            answer = await sidecar.http.get("/api/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status
        keys = (await sidecar.http.get("/api/v1/keys")).json()["keys"]
        assert json.dumps(keys).count("sk-sidecar-") == 0
        assert [key["name"] for key in keys] == ["stays", "goes"]


async def test_the_command_line_makes_lists_and_revokes(lab: Laboratory) -> None:
    status, said, told = await cli(
        lab.sidecar, "keys", "create", "--workspace", "work", "--name", "by hand", "--rights", "chat,usage"
    )
    assert status == 0
    assert "not shown again" in told
    async with using(lab, said.strip()) as http:
        assert (await http.get("/api/v1/usage")).status_code == 200
    status, said, _ = await cli(lab.sidecar, "keys", "list", "--json")
    key = next(k for k in json.loads(said)["keys"] if k["name"] == "by hand")
    assert (key["workspace"], key["rights"]) == ("work", ["chat", "usage"])
    status, said, _ = await cli(lab.sidecar, "keys", "list")
    assert "by hand" in said
    assert (await cli(lab.sidecar, "keys", "revoke", "by hand"))[0] == 0
    assert (await cli(lab.sidecar, "keys", "revoke", "by hand"))[0] == 1
    assert (await cli(lab.sidecar, "keys", "create", "--name", "nowhere"))[0] == 2
    status, _, told = await cli(lab.sidecar, "keys", "create", "--name", "x", "--workspace", "wrok")
    assert status == 1
    assert "wrok" in told
