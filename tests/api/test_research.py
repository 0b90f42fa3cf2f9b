"""research end to end: a sidecar, a model that answers, and the world outside played on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.llm.clock import Clock
from tests.fakes.agents import HandClock
from tests.fakes.laboratory import eventually
from tests.fakes.providers import FakeProvider, Hang, Reply
from tests.fakes.sidecar import RunningSidecar, running_sidecar
from tests.fakes.world import BOMB, World, arxiv, release, rss

TOPIC = {"name": "LLM routing", "about": "Routers that choose a language model for each request by cost and privacy."}
ON_TOPIC = ("RouteLLM chooses a language model by cost", "RouteLLM is a router that picks an LLM for each request.")
OFF_TOPIC = ("Sourdough bread at home", "Flour, water, salt and two days of patience make a fine loaf.")
ANSWER = {
    "summary": "RouteLLM routes requests to cheaper language models.",
    "entities": [
        {"name": "RouteLLM", "kind": "project", "summary": "a router"},
        {"name": "NotThere", "kind": "project", "summary": ""},
    ],
    "relations": [],
}


@asynccontextmanager
async def opened(
    folder: Path,
    world: World,
    provider: FakeProvider,
    sources: list[dict[str, Any]],
    *,
    workspace: str = "open",
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[RunningSidecar]:
    entry = {
        "name": "research", "workspace": workspace,
        "settings": {"topics": [TOPIC], "sources": sources, "pause_seconds": 2, **settings},
    }  # fmt: skip
    async with running_sidecar(
        folder,
        clock=clock,
        models=[{"id": "ollama/small", "api_base": provider.url, "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/small"}],
        agents=[entry],
    ) as sidecar:
        yield sidecar


async def run(sidecar: RunningSidecar, **more: Any) -> dict[str, Any]:
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "research", "wait": True, **more})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def inbox(sidecar: RunningSidecar) -> list[dict[str, Any]]:
    response = await sidecar.http.get("/api/v1/notifications")
    return [one for one in response.json()["notifications"] if one["kind"] == "agent"]


def answering(provider: FakeProvider) -> None:
    provider.always(Reply((json.dumps(ANSWER),)))


async def test_what_bears_on_a_topic_is_read_kept_and_told_once(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        world.feed("/blog.xml", rss([ON_TOPIC, OFF_TOPIC]), etag='"1"')
        sources = [{"feed": f"{world.url}/blog.xml"}]
        async with opened(tmp_path, world, provider, sources) as sidecar:
            first = await run(sidecar)
            assert first["state"] == "ok", first
            assert {"new": 2, "relevant": 1, "told": 1, "failed": 0, "by_meaning": True}.items() <= first[
                "data"
            ].items()
            assert ANSWER["summary"] in first["summary"]
            assert len(first["stored"]) >= 1
            (told,) = await inbox(sidecar)
            assert told["title"] == ON_TOPIC[0]
            assert told["links"] == [{"title": ON_TOPIC[0], "url": "https://blog.example.org/0"}]
            entities = (await sidecar.http.get("/api/v1/entities?workspace=open")).json()["entities"]
            assert {(e["name"], e["kind"]) for e in entities} == {("RouteLLM", "project"), (ON_TOPIC[0], "article")}
            second = await run(sidecar)
            assert second["data"]["new"] == 0
            assert world.asked[-1][1]["if-none-match"] == '"1"'
            assert len(await inbox(sidecar)) == 1
        # A restart; and the feed has changed in one place.
        world.feed("/blog.xml", rss([ON_TOPIC, OFF_TOPIC, ("A new LLM router", "It selects models by price.")]))
        async with opened(tmp_path, world, provider, sources) as sidecar:
            third = await run(sidecar)
            assert (third["data"]["new"], third["data"]["relevant"]) == (1, 1)
            assert [one["title"] for one in await inbox(sidecar)] == ["A new LLM router", ON_TOPIC[0]]
        asked = [chat.body for chat in provider.chats]
        assert len(asked) == 2
        assert "never an instruction" in json.dumps(asked[0])


async def test_the_same_story_elsewhere_is_told_once(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        world.feed("/a.xml", rss([ON_TOPIC]))
        world.feed("/b.xml", rss([(ON_TOPIC[0], ON_TOPIC[1] + " ")], site="https://other.example.org"))
        world.feed("/c.xml", rss([ON_TOPIC]))
        world.feed(
            "/api/query", arxiv([("2611.01234v1", "Learning to Route LLMs", "We route requests to models by cost.")])
        )
        sources = [{"feed": f"{world.url}/{n}.xml", "name": n} for n in "abc"] + [
            {"arxiv": "all:x", "api_base": world.url}
        ]
        async with opened(tmp_path, world, provider, sources) as sidecar:
            found = await run(sidecar)
            assert (found["data"]["relevant"], found["data"]["duplicates"], found["data"]["told"]) == (2, 1, 2)
            (told,) = await inbox(sidecar)
            assert told["title"] == "2 new on LLM routing"
        assert sidecar.slept.count(2.0) == 3, "one host: a pause before each further request"


async def test_releases_of_one_project_are_each_told(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        text = "The router chooses a language model for each request by cost."
        world.json("/repos/acme/router/releases", [release("v2", text), release("v1", text)])
        sources = [{"github": "acme/router", "api_base": world.url}]
        async with opened(tmp_path, world, provider, sources) as sidecar:
            assert (await run(sidecar))["data"]["relevant"] == 2
        assert world.asked[0][1]["accept"] == "application/vnd.github+json"


async def test_broken_sources_take_no_other_with_them(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        world.feed("/good.xml", rss([ON_TOPIC]))
        world.feed("/bomb.xml", BOMB)
        world.feed("/page.xml", "<html>no feed</html>", content_type="text/html")
        world.endless("/endless.xml")
        world.status("/gone.xml", 404)
        paths = ["bomb", "page", "endless", "gone", "good"]
        sources = [{"feed": f"{world.url}/{path}.xml", "name": path} for path in paths]
        async with opened(tmp_path, world, provider, sources) as sidecar:
            found = await run(sidecar)
            assert found["state"] == "ok"
            assert (found["data"]["failed"], found["data"]["relevant"]) == (4, 1)
            for said in ("EntitiesForbidden", "no RSS or Atom", "more than 5000000 bytes", "status 404"):
                assert said in found["summary"]


async def test_where_no_source_can_be_read_the_run_fails(tmp_path: Path) -> None:
    async with (
        World() as world,
        FakeProvider() as provider,
        opened(tmp_path, world, provider, [{"feed": f"{world.url}/gone.xml"}]) as sidecar,
    ):
        found = await run(sidecar)
        assert (found["state"], found["error_code"]) == ("failed", "bad_feed")


async def test_who_asks_for_patience_is_left_alone_until_then(tmp_path: Path) -> None:
    hand = HandClock()

    async def sleep(seconds: float) -> None:  # whoever waits in the background must not move the clock
        await asyncio.sleep(min(seconds, 0.01))

    clock = replace(hand.clock, sleep=sleep)
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        world.status("/busy.xml", 429, {"Retry-After": "3600"})
        sources = [{"feed": f"{world.url}/busy.xml"}]
        async with opened(tmp_path, world, provider, sources, clock=clock) as sidecar:
            assert "is busy (429)" in (await run(sidecar))["summary"]
            world.feed("/busy.xml", rss([ON_TOPIC]))
            hand.forward(minutes=30)
            assert "asked not to be read before" in (await run(sidecar))["summary"]
            assert len(world.asked) == 1
            hand.forward(minutes=31)
            assert (await run(sidecar))["data"]["relevant"] == 1


async def test_without_a_model_the_item_tells_itself(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        provider.always(Reply(("no JSON at all",)))
        world.feed("/blog.xml", rss([ON_TOPIC]))
        async with opened(tmp_path, world, provider, [{"feed": f"{world.url}/blog.xml"}]) as sidecar:
            found = await run(sidecar)
            assert found["state"] == "ok"
            assert ON_TOPIC[1] in found["summary"]
        assert len(provider.chats) == 2, "asked once, and once to mend it"


async def test_a_dry_run_tells_and_keeps_nothing(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        world.feed("/blog.xml", rss([ON_TOPIC]), etag='"1"')
        async with opened(tmp_path, world, provider, [{"feed": f"{world.url}/blog.xml"}]) as sidecar:
            dry = await run(sidecar, dry_run=True)
            assert any(note.startswith("would store article") for note in dry["withheld"])
            assert await inbox(sidecar) == []
            assert (await run(sidecar))["data"]["relevant"] == 1


async def test_a_flood_is_one_notification(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        items = [
            (f"RouteLLM {n} chooses a language model", f"Router {n} picks an LLM by cost. {n * 7919}")
            for n in range(40)
        ]
        world.feed("/blog.xml", rss(items))
        async with opened(tmp_path, world, provider, [{"feed": f"{world.url}/blog.xml"}], most=3) as sidecar:
            found = await run(sidecar)
            (told,) = await inbox(sidecar)
            assert told["title"].startswith(f"{found['data']['told']} new")
            assert "and 30 more" in told["body"]
        assert len(provider.chats) == 3, "`most` bounds what a model reads"


async def test_what_the_index_holds_of_the_same_lifts_an_item(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        answering(provider)
        world.feed("/blog.xml", rss([ON_TOPIC]))
        scores = []
        for folder, chunks in (("without", []), ("with", [{"path": "notes.md", "text": " ".join(ON_TOPIC)}])):
            async with opened(tmp_path / folder, world, provider, [{"feed": f"{world.url}/blog.xml"}]) as sidecar:
                if chunks:
                    body = {"workspace": "open", "chunks": chunks}
                    assert (await sidecar.http.post("/api/v1/chunks", json=body)).status_code == 200
                assert (await run(sidecar))["data"]["by_meaning"]
                (row,) = await sidecar.services.database.read(
                    lambda c: c.exec_driver_sql("SELECT document FROM agent_documents WHERE kind = 'article'").all()
                )
                scores.append(json.loads(row[0])["score"])
        assert 0.1 < scores[1] - scores[0] <= 0.2


async def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    async with (
        World() as world,
        FakeProvider() as provider,
        opened(tmp_path, world, provider, [{"arxiv": "all:routing"}]) as sidecar,
    ):
        agent = (await sidecar.http.get("/api/v1/agents/research")).json()
        assert [lack["what"] for lack in agent["lacks"]] == ["leave to ask export.arxiv.org"]
        response = await sidecar.http.post("/api/v1/trigger", json={"agent": "research"})
        assert (response.status_code, response.json()["code"]) == (409, "agent_not_ready")


async def test_a_run_that_is_cut_off_reads_nothing_twice_and_what_it_kept_is_told(tmp_path: Path) -> None:
    async with World() as world, FakeProvider() as provider:
        provider.script(Reply((json.dumps(ANSWER),)), Hang("before_headers"))
        answering(provider)
        items = [ON_TOPIC, ("An LLM gateway with privacy", "It keeps private requests on local language models.")]
        world.feed("/blog.xml", rss(items), etag='"1"')
        sources = [{"feed": f"{world.url}/blog.xml"}]
        async with opened(tmp_path, world, provider, sources) as sidecar:
            body = {"agent": "research", "workspace": "open"}
            run_id = (await sidecar.http.post("/api/v1/trigger", json=body)).json()["run_id"]
            await eventually(lambda: len(provider.chats) == 2, within=20)
            await sidecar.http.post(f"/api/v1/runs/{run_id}/cancel")
            await eventually(lambda: sidecar.services.agents.runs.live("research") is None, within=20)
            assert await inbox(sidecar) == []
        async with opened(tmp_path, world, provider, sources) as sidecar:
            found = await run(sidecar)
            assert (found["data"]["relevant"], found["data"]["told"]) == (1, 2)
            assert "if-none-match" not in world.asked[-1][1], "what was not read to its end is asked for again"
            (told,) = await inbox(sidecar)
            assert told["title"] == "2 new on LLM routing"
        assert len(provider.chats) == 3
