"""Entities over real HTTP: in and out, neighbours, isolation, hostile input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTER = {"name": "ModelRouter", "kind": "class", "summary": "The one door to a model.", "path": "app/llm/router.py",
          "line": 86}  # fmt: skip
POLICY = {"name": "RetryPolicy", "kind": "class", "path": "app/llm/retry.py"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path_factory.mktemp("entities"),
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
        profiles=[{"id": name} for name in ("open", "other", "third", "pages", "race")]
        + [{"id": "work", "block_cloud_apis": True}],
    ) as running:
        yield running


async def put(sidecar: RunningSidecar, status: int = 200, **body: Any) -> Any:
    response = await sidecar.http.post("/api/v1/entities", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def get(sidecar: RunningSidecar, path: str = "", status: int = 200, **params: Any) -> Any:
    response = await sidecar.http.get(f"/api/v1/entities{path}", params=params)
    assert response.status_code == status, response.text
    return response.json()


def names(answer: Any, key: str = "entities") -> list[str]:
    return [entity["name"] for entity in answer[key]]


async def test_what_is_stored_is_found_with_its_neighbours(sidecar: RunningSidecar) -> None:
    stored = await put(
        sidecar,
        entities=[ROUTER, POLICY, {"name": "backoff"}],
        relations=[
            {"from": "ModelRouter", "to": "RetryPolicy", "kind": "uses"},
            {"from": {"name": "RetryPolicy", "kind": "class"}, "to": "backoff", "kind": "decides"},
        ],
    )
    assert (stored["workspace"], len(stored["ids"]), stored["relations"]) == ("open", 3, 2)
    answer = await get(sidecar, q="model router")
    first = answer["entities"][0]
    assert (first["id"], first["name"], first["path"], first["line"]) == (
        stored["ids"][0], "ModelRouter", "app/llm/router.py", 86,
    )  # fmt: skip
    assert (first["hops"], first["mentions"], first["private"], first["source"]) == (0, 1, False, "user")
    near = await get(sidecar, q="ModelRouter", hops=2, limit=1)
    assert [(e["name"], e["hops"]) for e in near["entities"]][:2] == [("ModelRouter", 0), ("RetryPolicy", 1)]
    one = await get(sidecar, f"/{first['id']}", hops=2)
    assert [(e["name"], e["hops"]) for e in one["neighbours"]] == [("RetryPolicy", 1), ("backoff", 2)]
    assert {(r["kind"], r["from"], r["to"]) for r in one["relations"]} == {
        ("uses", stored["ids"][0], stored["ids"][1]),
        ("decides", stored["ids"][1], stored["ids"][2]),
    }
    assert names(await get(sidecar, f"/{first['id']}", hops=0), "neighbours") == []


async def test_sending_it_again_changes_nothing(sidecar: RunningSidecar) -> None:
    here: dict[str, Any] = {"workspace": "third", "entities": [ROUTER], "relations": []}
    first, again = [await put(sidecar, **here) for _ in range(2)]
    assert first == again
    assert (await get(sidecar, f"/{first['ids'][0]}"))["mentions"] == 1
    await put(sidecar, workspace="third", entities=[{"name": " modelrouter ", "kind": "class"}], source="text")
    (only,) = (await get(sidecar, workspace="third"))["entities"]
    assert (only["name"], only["mentions"], only["summary"]) == ("ModelRouter", 2, ROUTER["summary"])


async def test_an_alias_makes_two_one(sidecar: RunningSidecar) -> None:
    js = (await put(sidecar, entities=[{"name": "JS"}, {"name": "V8"}], relations=[{"from": "V8", "to": "JS"}]))["ids"]
    (merged,) = (await put(sidecar, entities=[{"name": "JavaScript", "aliases": ["js", "ECMAScript"]}]))["ids"]
    by_old_id = await get(sidecar, f"/{js[0]}")
    assert by_old_id["id"] == merged
    called = [*by_old_id["aliases"], by_old_id["name"]]
    assert sorted(name.lower() for name in called) == ["ecmascript", "javascript", "js"]
    assert names(by_old_id, "neighbours") == ["V8"]
    assert names(await get(sidecar, q="ecmascript", limit=1)) == [by_old_id["name"]]


async def test_what_an_origin_said_can_be_forgotten(sidecar: RunningSidecar) -> None:
    here: dict[str, Any] = {"workspace": "other", "source": "code"}
    await put(sidecar, origin="a.py", entities=[{"name": "only_a", "kind": "function"}, {"name": "both"}], **here)
    await put(sidecar, origin="b.py", entities=[{"name": "both"}], **here)
    await put(sidecar, delete_origins=["a.py"], **here)
    (left,) = (await get(sidecar, workspace="other"))["entities"]
    assert (left["name"], left["mentions"]) == ("both", 1)
    assert [s["origin"] for s in (await get(sidecar, f"/{left['id']}"))["sightings"]] == ["b.py"]


async def test_no_workspace_sees_anothers(sidecar: RunningSidecar) -> None:
    (secret,) = (await put(sidecar, workspace="work", entities=[{"name": "zebra", "summary": "launch code"}]))["ids"]
    (open_one,) = (await put(sidecar, workspace="other", entities=[{"name": "zebra"}]))["ids"]
    assert secret != open_one
    assert (await get(sidecar, f"/{secret}"))["private"] is True
    assert (await get(sidecar, f"/{secret}", 404, workspace="other"))["code"] == "entity_not_found"
    (found,) = (await get(sidecar, workspace="other", q="zebra"))["entities"]
    assert (found["id"], found["summary"], found["private"]) == (open_one, None, False)
    problem = await put(sidecar, 422, workspace="other", relations=[{"from": "zebra", "to": secret}])
    assert problem["field"] == "relations[0].to"
    response = await sidecar.http.delete(f"/api/v1/entities/{secret}", params={"workspace": "other"})
    assert response.status_code == 404
    response = await sidecar.http.delete(f"/api/v1/entities/{open_one}", params={"workspace": "other"})
    assert response.status_code == 204
    assert names(await get(sidecar, workspace="work", q="zebra")) == ["zebra"]


async def test_pages_hold_everything_once(sidecar: RunningSidecar) -> None:
    many = [{"name": f"thing {n}", "mentions": 1 + n % 3, "kind": ("odd", "even")[n % 2]} for n in range(25)]
    await put(sidecar, workspace="pages", entities=many)
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await get(sidecar, workspace="pages", limit=7, **cursor)
        seen += names(answer)
        if answer["next_cursor"] is None:
            break
        cursor = {"cursor": answer["next_cursor"]}
    assert sorted(seen) == sorted(str(e["name"]) for e in many)
    assert len((await get(sidecar, workspace="pages", kind="odd", limit=200))["entities"]) == 13
    assert len((await get(sidecar, workspace="pages", kind="odd,even", q="thing", limit=200))["entities"]) == 25
    assert (await get(sidecar, "", 422, q="thing", cursor="x"))["field"] == "cursor"


async def test_concurrent_writes_of_the_same_keys_make_one_row_each(sidecar: RunningSidecar) -> None:
    bodies: list[dict[str, Any]] = [
        {
            "workspace": "race",
            "source": "agent",
            "origin": f"agent-{n % 4}",
            "entities": [{"name": f"key {k}", "aliases": [f"other {k}"]} for k in range(10)],
            "relations": [{"from": f"key {k}", "to": f"other {(k + 1) % 10}"} for k in range(10)],
        }
        for n in range(24)
    ]
    answers = await asyncio.gather(*(put(sidecar, **body) for body in bodies))
    assert len({tuple(answer["ids"]) for answer in answers}) == 1
    everything = await get(sidecar, workspace="race", limit=200, hops=1)
    assert len(everything["entities"]) == 10
    assert {e["mentions"] for e in everything["entities"]} == {4}
    assert {r["weight"] for r in everything["relations"]} == {4.0}
    assert len(everything["relations"]) == 10


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"entities": [{"name": ""}]}, "entities[0].name"),
        ({"entities": [{"name": " ` "}]}, "entities[0].name"),
        ({"entities": [{"name": "x" * 257}]}, "entities[0].name"),
        ({"entities": [{"name": "x", "kind": "A Kind"}]}, "entities[0].kind"),
        ({"entities": [{"name": "x", "line": 3}]}, "entities[0]"),
        ({"entities": [{"name": "x", "aliases": ["  "]}]}, "entities[0].aliases"),
        ({"entities": [{"name": "x", "mentions": 0}]}, "entities[0].mentions"),
        ({"entities": [{"name": "x", "id": "mine"}]}, "entities[0].id"),
        ({"entities": [{"name": "x"}], "relations": [{"from": "x", "to": "nobody"}]}, "relations[0].to"),
        ({"entities": [{"name": "x"}], "relations": [{"from": "' OR 1=1 --", "to": "x"}]}, "relations[0].from"),
        ({"relations": [{"from": {"name": "a"}, "to": {"name": "b"}, "weight": 0}]}, "relations[0].weight"),
        ({"relations": [{"from": {"name": "a"}, "to": {"name": "b"}, "weight": 1e300}]}, "relations[0].weight"),
        ({"entities": [{"name": "x"}], "private": False}, "private"),
        ({"entities": [{"name": "x"}], "source": "oracle"}, "source"),
    ],
)
async def test_what_makes_no_sense_names_its_field(sidecar: RunningSidecar, body: dict[str, Any], field: str) -> None:
    problem = await put(sidecar, 422, **body)
    assert problem["code"] == "invalid_request"
    named = [error["field"] for error in problem.get("errors") or []] or [problem.get("field")]
    assert set(named) == {field}


@pytest.mark.parametrize(
    "params", [{"kind": "x;DROP"}, {"hops": 3}, {"hops": -1}, {"limit": 0}, {"limit": 201}, {"sort": "name"},
               {"cursor": "zzz"}, {"workspace": "x' OR 1=1"}, {"q": "x" * 10_001}],
)  # fmt: skip
async def test_parameters_are_checked(sidecar: RunningSidecar, params: dict[str, Any]) -> None:
    assert (await get(sidecar, "", 422, **params))["code"] == "invalid_request"


@pytest.mark.parametrize("identity", ["../../x", "%2e%2e%2f", "C:\\", "x' OR 1=1 --", "a" * 10_000, "ö"])
async def test_an_id_is_no_path_and_no_sql(sidecar: RunningSidecar, identity: str) -> None:
    for method in ("GET", "DELETE"):
        response = await sidecar.http.request(method, f"/api/v1/entities/{identity}")
        assert response.status_code in (404, 422), response.text


async def test_unknown_ids_and_workspaces(sidecar: RunningSidecar) -> None:
    assert (await get(sidecar, "/nothing", 404))["code"] == "entity_not_found"
    assert (await sidecar.http.delete("/api/v1/entities/nothing")).status_code == 404
    assert (await get(sidecar, "", 422, workspace="nobody"))["code"] == "unknown_workspace"
    assert (await put(sidecar, 422, workspace="nobody", entities=[{"name": "x"}]))["code"] == "unknown_workspace"


async def test_odd_characters_come_back_unharmed(sidecar: RunningSidecar) -> None:
    odd = "naïve 数据 \U0001f9ee {0.__class__} {{7*7}} <|eot_id|> ```\n\nevent: done"
    (identity,) = (await put(sidecar, entities=[{"name": odd, "summary": odd, "path": "a\tb'.py"}]))["ids"]
    found = await get(sidecar, f"/{identity}")
    assert (found["summary"], found["path"]) == (odd, "a\tb'.py")
    assert found["name"] == " ".join(odd.split())
    assert names(await get(sidecar, q=odd, limit=1)) == [found["name"]]
    response = await sidecar.http.post(
        "/api/v1/entities", content=b'{"entities": [{"name": "\\ud800"}]}', headers={"content-type": "application/json"}
    )
    assert response.status_code == 422
