"""What an agent is given keeps to its workspace, to privacy and to dry runs, whatever the agent does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from referencing.exceptions import Unresolvable
from sqlalchemy import insert

from app.agents.base import AgentContext, AgentResult
from app.agents.data import AgentData, QueryRefused
from app.agents.door import WAITING, AgentRouter, BadAnswer, read_json
from app.agents.privacy import Taint
from app.agents.runlog import FIRST_LINES, LAST_LINES, Heard, Line, RunLog, numbered
from app.errors import RequestError
from app.llm.calls import ModelRequest
from app.llm.events import Done, Event
from app.llm.router import Completion
from app.store.database import Database
from app.store.tables import session_messages, sessions
from tests.fakes.agents import HandClock, OpenedService, ScriptedAgent, open_agent_service

NOW = "2026-11-26T12:00:00.000Z"
ENTRY = [{"name": "scripted"}]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "sidecar.db", now=datetime.now(UTC))

    def fill(connection: Any) -> None:
        for name, workspace, private in (("s1", "open", False), ("s2", "work", True), ("s3", "mixed", True)):
            row = {"id": name, "workspace": workspace, "private": private, "title": f"title of {name}"}
            connection.execute(insert(sessions).values(**row, created_at=NOW, updated_at=NOW))
            message = {"session_id": name, "seq": 0, "role": "user", "content": f"words of {name}", "partial": False}
            connection.execute(insert(session_messages).values(**message, created_at=NOW))

    await opened.write(fill)
    yield opened
    await opened.close()


# -- SQL ------------------------------------------------------------------------------------------------------------


async def test_a_query_sees_its_own_workspace(database: Database) -> None:
    taint = Taint()
    data = AgentData(database.path, "open", taint)
    assert await data.query("SELECT id FROM sessions") == [{"id": "s1"}]
    joined = "SELECT m.content FROM session_messages m JOIN sessions s ON s.id = m.session_id WHERE s.id LIKE ?"
    assert await data.query(joined, ["s%"]) == [{"content": "words of s1"}]
    assert not taint.private


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM main.sessions",
        "WITH sessions AS (SELECT * FROM main.sessions) SELECT * FROM sessions",
        "SELECT * FROM (SELECT * FROM main.session_messages) AS session_messages",
        "SELECT * FROM sessions WHERE id IN (SELECT session_id FROM main.session_messages)",
        "SELECT sql FROM sqlite_temp_master",
        "SELECT name FROM main.sqlite_master",
        "SELECT * FROM alembic_version",
        "DELETE FROM sessions",
        "INSERT INTO main.sessions (id) VALUES ('x')",
        "DROP VIEW sessions",
        "ATTACH DATABASE ':memory:' AS other",
        "PRAGMA query_only = OFF",
        "CREATE TEMP TABLE t (x)",
        "SELECT 1; SELECT 2",
        "not sql",
    ],
)
async def test_a_query_sees_and_does_nothing_else(database: Database, sql: str) -> None:
    with pytest.raises(QueryRefused):
        await AgentData(database.path, "open", Taint()).query(sql)


async def test_the_guess_of_a_view_s_name_helps_nobody(database: Database) -> None:
    sql = "WITH v_sessions AS (SELECT * FROM main.sessions) SELECT * FROM v_sessions"
    with pytest.raises(QueryRefused):
        await AgentData(database.path, "open", Taint()).query(sql)


@pytest.mark.parametrize("sql", ["SELECT title FROM sessions", "SELECT content FROM session_messages"])
async def test_who_reads_what_was_private_is_local_from_then_on(database: Database, sql: str) -> None:
    taint = Taint()
    data = AgentData(database.path, "mixed", taint)
    await data.query("SELECT count(*) FROM llm_usage_log")
    assert not taint.private
    await data.query(sql)
    assert taint.private


@pytest.mark.parametrize("sql", ["SELECT id FROM sessions WHERE title LIKE '%Acme%'", "SELECT 1 FROM session_state"])
async def test_an_empty_answer_tells_of_private_rows_too(database: Database, sql: str) -> None:
    taint = Taint()
    assert await AgentData(database.path, "mixed", taint).query(sql) == []
    assert taint.private


async def test_an_error_tells_of_private_rows_too_and_repeats_nothing_of_them(database: Database) -> None:
    taint = Taint()
    data = AgentData(database.path, "mixed", taint)
    with pytest.raises(QueryRefused, match="no such column"):
        await data.query("SELECT no_such FROM sessions")
    with pytest.raises(QueryRefused, match="bindings"):
        await data.query("SELECT title FROM sessions WHERE id = ?")
    assert not taint.private  # no row was looked at
    with pytest.raises(QueryRefused) as refused:
        await data.query("SELECT json_extract('{}', title) FROM sessions")  # SQLite: path error near 'title of s3'
    assert "title of" not in str(refused.value)
    assert taint.private


@pytest.mark.parametrize("open_only", [False, True])
async def test_an_error_repeats_no_other_workspace_s_rows(database: Database, open_only: bool) -> None:
    """SQLite may look at what an index holds before it looks at whose row it is."""
    data = AgentData(database.path, "open", Taint(), open_only=open_only)
    with pytest.raises(QueryRefused) as refused:
        await data.query(
            "SELECT s.id FROM (SELECT ? AS k) JOIN sessions s ON s.id = k AND json_extract('{}', s.id)", ["s2"]
        )
    assert "s2" not in str(refused.value)
    with pytest.raises(QueryRefused) as refused:
        await data.query("SELECT 1 FROM session_messages WHERE session_id = 's2' AND json_extract('{}', session_id)")
    assert "s2" not in str(refused.value)


async def test_keys_of_clients_are_nobody_s_to_read(database: Database) -> None:
    with pytest.raises(QueryRefused, match=r"client_keys.* is prohibited"):
        await AgentData(database.path, "open", Taint()).query("SELECT * FROM client_keys")


async def test_with_open_only_nothing_private_is_there(database: Database) -> None:
    def fill(connection: Any) -> None:
        row = {
            "id": "s4",
            "workspace": "mixed",
            "private": False,
            "title": "open",
            "created_at": NOW,
            "updated_at": NOW,
        }
        connection.execute(insert(sessions).values(**row))

    await database.write(fill)
    taint = Taint()
    data = AgentData(database.path, "mixed", taint, open_only=True)
    assert await data.query("SELECT id FROM sessions ORDER BY id") == [{"id": "s4"}]
    assert await data.query("SELECT content FROM session_messages") == []
    for table in ("entities", "entity_names", "entity_terms", "entity_sightings", "entity_relations", "agent_runs",
                  "agent_state", "agent_documents", "notifications", "session_state", "session_summaries"):  # fmt: skip
        assert await data.query(f"SELECT * FROM {table}") == []
    for table in ("llm_usage_log", "request_receipts", "index_folders"):  # of these it cannot be told
        with pytest.raises(QueryRefused, match="is prohibited"):
            await data.query(f"SELECT * FROM {table}")
    assert not taint.private


# -- the door -------------------------------------------------------------------------------------------------------


class EchoRouter:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[ModelRequest] = []

    async def complete(self, request: ModelRequest) -> Completion:
        self.asked.append(request)
        if request.queued is not None:
            request.queued(True)
            request.queued(False)
        done = Done(request.request_id, "m", "loopback", "stop", 1, 1, 0.0, "computed", 1, 1, 1, (), "stored", ())
        return Completion(self.answers.pop(0), done)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Event], None]:
        self.asked.append(request)
        yield []


def door(router: EchoRouter, taint: Taint | None = None) -> AgentRouter:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text)
    return AgentRouter(router, run_id="run", agent="digest", workspace="open", log=runlog, taint=taint or Taint())


async def test_every_request_carries_the_run_s_name() -> None:
    router = EchoRouter("a", "b")
    asking = door(router)
    await asking.ask("one", task_type="summarization")
    await asking.ask("two", task_type="summarization")
    assert [(r.request_id, r.agent, r.workspace, r.interactive) for r in router.asked] == [
        ("run.1", "digest", "open", False),
        ("run.2", "digest", "open", False),
    ]
    assert not router.asked[0].session_private


async def test_a_run_that_read_private_text_asks_local_models() -> None:
    router = EchoRouter("a")
    await door(router, Taint(True)).ask("one", task_type="chat")
    assert router.asked[0].session_private


async def test_another_workspace_s_request_is_refused() -> None:
    from app.context.blocks import Material

    with pytest.raises(RequestError):
        await door(EchoRouter("a")).complete(ModelRequest("x", "work", "chat", Material(messages=())))


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


async def test_json_that_does_not_fit_is_sent_back_once() -> None:
    router = EchoRouter('{"n": "three"}', 'Here it is:\n```json\n{"n": 3}\n```')
    found = await door(router).ask_json("count", SCHEMA, task_type="entity_extraction")
    assert found.value == {"n": 3}
    assert "n: must be a whole number" in router.asked[1].material.messages[-1]["content"]
    with pytest.raises(BadAnswer):
        await door(EchoRouter("no", "neither")).ask_json("count", SCHEMA, task_type="entity_extraction")


def test_what_was_written_is_not_repeated_in_what_is_wrong_with_it() -> None:
    assert read_json('{"n": 1, "secret-key": 2}', SCHEMA) == (None, "holds a key that is not known; known are: n")
    assert read_json("{}", SCHEMA) == (None, "`n` is required")
    assert read_json("[1]", SCHEMA)[1] == "must be an object"


@pytest.mark.parametrize("text", ['{"n": "\\ud800"}', '{"n": NaN}', '{"n": ' * 3_000 + "1" + "}" * 3_000])
def test_what_cannot_be_kept_does_not_fit(text: str) -> None:
    assert read_json(text, {"type": "object"}) == (None, "it is not JSON")


def test_a_schema_is_asked_for_nothing_that_it_does_not_hold() -> None:
    """No address is fetched, and no reference followed without end."""
    assert "without end" in read_json("{}", {"$ref": "#"})[1]
    with pytest.raises(Unresolvable):
        read_json("{}", {"$ref": "http://127.0.0.1:1/schema"})


async def test_a_wait_for_the_model_is_said_in_the_progress() -> None:
    said: list[str] = []

    def redact(text: str) -> str:
        said.append(text)
        return text

    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), redact)
    asking = AgentRouter(EchoRouter("a"), run_id="run", agent="a", workspace="open", log=runlog, taint=Taint())
    runlog.progress("reading", 3, 4)
    await asking.ask("x", task_type="chat")
    assert said == ["reading", WAITING, "reading"]


# -- one run --------------------------------------------------------------------------------------------------------


async def run_once(opened: OpenedService, **more: Any) -> dict[str, Any]:
    await opened.service.trigger("scripted", **more)
    await opened.settle()
    return opened.rows()[-1]


async def test_state_lasts_where_the_run_ended_well_and_only_there(tmp_path: Path) -> None:
    async def count(context: AgentContext) -> None:
        context.state["n"] = context.state.get("n", 0) + 1
        if context.input.get("topic") == "fail":
            raise RuntimeError

    agent = ScriptedAgent(count)
    async with open_agent_service(tmp_path, [agent], ENTRY, HandClock()) as opened:
        await run_once(opened)
        await run_once(opened, given={"topic": "fail"})
        await run_once(opened, dry_run=True)
        await run_once(opened, workspace="work")
        await run_once(opened)
    assert [context.state["n"] for context in agent.contexts] == [1, 2, 2, 1, 2]


async def test_a_dry_run_stores_and_tells_nothing_and_sees_what_it_would_have_stored(tmp_path: Path) -> None:
    async def work(context: AgentContext) -> AgentResult:
        await context.store.put("note", "a", {"x": 1})
        assert await context.store.get("note", "a") == {"x": 1}
        assert [d.key for d in await context.store.latest("note")] == ["a"]
        await context.notification_service.notify("News", severity="warning")
        return AgentResult("done", {"n": 1}, ["elsewhere:1"])

    agent = ScriptedAgent(work)
    async with open_agent_service(tmp_path, [agent], ENTRY, HandClock()) as opened:
        run = await opened.service.trigger("scripted", dry_run=True)
        await opened.settle()
        detail = await opened.service.runs.get(run.id)
        assert detail.run.withheld == ["would store note `a`", "would notify (warning): News"]
        assert detail.run.stored == []
        assert opened.notifications.told == []
        run = await opened.service.trigger("scripted")
        await opened.settle()
        detail = await opened.service.runs.get(run.id)
        assert detail.run.stored == ["note:a", "elsewhere:1"]
        assert opened.notifications.told == [("News", "", "warning")]


async def test_documents_written_while_private_stay_private(tmp_path: Path) -> None:
    async def put(context: AgentContext) -> None:
        await context.store.put("note", "a", {"x": 1})

    async def look(context: AgentContext) -> None:
        await context.store.get("note", "a")

    agent = ScriptedAgent(put, look, look)
    async with open_agent_service(tmp_path, [agent], ENTRY, HandClock()) as opened:
        row = await run_once(opened, workspace="work")
        assert row["private"] == 1
        profiles = tuple(p.model_copy(update={"block_cloud_apis": False}) for p in opened.config.profiles.profiles)
        public = opened.config.profiles.model_copy(update={"profiles": profiles})
        from dataclasses import replace

        opened.config = replace(opened.config, profiles=public)
        assert (await run_once(opened, workspace="work"))["private"] == 1
        assert (await run_once(opened, workspace="open"))["private"] == 0


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ({"state": object()}, "its state"),
        ({"state": {1, 2}}, "its state"),
        ({"data": object()}, "its data"),
        ({"state": "x" * 3_000_000}, "at most"),
    ],
)
async def test_what_cannot_be_kept_fails_the_run(tmp_path: Path, left: dict[str, Any], says: str) -> None:
    async def leave(context: AgentContext) -> AgentResult:
        if "state" in left:
            context.state["x"] = left["state"]
        return AgentResult("done", {"x": left.get("data")})

    async with open_agent_service(tmp_path, [ScriptedAgent(leave)], ENTRY, HandClock()) as opened:
        row = await run_once(opened)
    assert row["state"] == "failed"
    assert says in row["error_message"]


async def test_an_agent_that_swallows_its_cancellation_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agents.performing.CANCEL_SECONDS", 0.05)
    free = asyncio.Event()

    async def stubborn(context: AgentContext) -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    entries = [{"name": "scripted", "timeout_seconds": 0.05}]
    async with open_agent_service(tmp_path, [ScriptedAgent(stubborn)], entries, HandClock()) as opened:
        assert (await run_once(opened))["error_code"] == "timeout"
        free.set()


# -- the log --------------------------------------------------------------------------------------------------------


async def test_a_log_keeps_its_beginning_and_its_end_and_no_key() -> None:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text.replace("sk-secret", "***"))
    for number in range(FIRST_LINES + LAST_LINES + 50):
        runlog.info(f"line {number} sk-secret \ud800")
    lines = runlog.lines
    assert len(lines) == FIRST_LINES + LAST_LINES + 1
    assert lines[0].text == "line 0 *** ?"
    assert lines[FIRST_LINES].text == "[50 lines left out]"
    assert lines[-1].text.startswith(f"line {FIRST_LINES + LAST_LINES + 49}")


async def test_listeners_hear_everything_once_and_end_with_the_run() -> None:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text)
    runlog.info("one")

    async def hear() -> list[str]:
        return [h.news.text async for batch in runlog.listen() for h in batch if isinstance(h.news, Line)]

    listeners = [asyncio.create_task(hear()) for _ in range(2)]
    await asyncio.sleep(0)
    runlog.info("two")
    await asyncio.sleep(0)
    runlog.info("three")
    runlog.close()
    assert [await listener for listener in listeners] == [["one", "two", "three"]] * 2


async def test_a_listener_who_comes_back_hears_the_lines_after_its_last() -> None:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text)
    said = FIRST_LINES + LAST_LINES + 50
    for number in range(1, said + 1):
        runlog.info(f"line {number}")
    runlog.progress("nearly there")
    runlog.close()

    async def heard(after: int) -> list[Heard]:
        return [one async for batch in runlog.listen(after) for one in batch]

    everything = await heard(0)
    assert [h.number for h in everything if h.news.text == f"line {h.number}"] == [
        *range(1, FIRST_LINES + 1),
        *range(said - LAST_LINES + 1, said + 1),
    ]
    assert [(h.number, h.news.text) for h in everything[-2:]] == [(said, f"line {said}"), (said, "nearly there")]
    # One whose last line is among those left out is told of the gap; one who knows all hears where it stands.
    assert (await heard(FIRST_LINES + 3))[0].news.text == "[50 lines left out]"
    assert (await heard(FIRST_LINES + 50))[0].news.text == f"line {FIRST_LINES + 51}"
    assert [h.news.text for h in await heard(said)] == ["nearly there"]
    # What is kept in the database says the same.
    assert numbered(runlog.lines) == everything[:-1]
