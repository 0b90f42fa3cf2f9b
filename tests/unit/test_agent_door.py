"""An agent's requests to models: named after its run, of its workspace, private after what was read, in a schema."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from referencing.exceptions import Unresolvable

from app.agents.door import WAITING, AgentRouter, BadAnswer, read_json
from app.agents.privacy import Taint
from app.agents.runlog import RunLog
from app.errors import RequestError
from app.llm.calls import ModelRequest
from app.llm.events import Done, Event
from app.llm.router import Completion


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
