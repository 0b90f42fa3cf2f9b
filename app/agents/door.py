"""AgentRouter: an agent's door to the models. The same `ModelRouter`, with the run's name on every request.

It chooses nothing itself: rules, privacy, budgets, retries and the ledger are the router's. Requests carry ids that
begin with the run's, so that what a run cost can be read off the ledger, also where it was cut off half-way.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson

from app.agents.checking import first_problem
from app.agents.privacy import Taint
from app.agents.runlog import Progress, RunLog
from app.context.blocks import CodeChunk, EntityNote, Material
from app.errors import AnswerError, NoPermittedModel, RequestError
from app.llm.calls import ModelRequest
from app.llm.events import Event
from app.llm.router import Completion

WAITING: Final = "waiting for the model: a person is being served first"


class BadAnswer(AnswerError):
    """What the model wrote is not what was asked for, also at the second try."""

    code, title = "bad_answer", "Unusable answer"


class Router(Protocol):
    """`app.llm.router.ModelRouter`."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Event], None]: ...

    async def complete(self, request: ModelRequest) -> Completion: ...


@dataclass(frozen=True, slots=True)
class Structured:
    """An answer as JSON that fits the schema that was asked for."""

    value: Any
    completion: Completion


class AgentRouter:
    """One run's door to the models."""

    def __init__(
        self,
        router: Router,
        *,
        run_id: str,
        agent: str,
        workspace: str,
        log: RunLog,
        taint: Taint,
    ) -> None:
        self._router = router
        self._run_id = run_id
        self._agent = agent
        self._workspace = workspace
        self._log = log
        self._taint = taint
        self._count = 0
        self._before_wait: Progress | None = None

    async def ask(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        task_type: str,
        system: str | None = None,
        chunks: Sequence[CodeChunk] = (),
        entities: Sequence[EntityNote] = (),
        model: str | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        response_format: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Completion:
        """A model's whole answer to `prompt` (text, or messages in OpenAI's shape that end with the question).

        `chunks` and `entities` are context that is trimmed where the window is small; `model` is a wish, still under
        the policy. Text from outside belongs in `app.context.fence.fenced()`, so that it cannot pose as an instruction.
        Raises `RequestError` (no permitted model, budget used up, too large) or `AnswerError`.
        """
        messages = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
        material = Material(messages=messages, system_prompt=system, chunks=tuple(chunks), entities=tuple(entities))
        return await self.complete(
            ModelRequest(
                request_id="",
                workspace=self._workspace,
                task_type=task_type,
                material=material,
                wish=model,
                max_output_tokens=max_output_tokens,
                temperature=temperature,
                response_format=response_format,
                metadata=dict(metadata or {}),
            )
        )

    async def ask_json(
        self,
        prompt: str,
        schema: Mapping[str, Any],
        *,
        task_type: str,
        system: str | None = None,
        chunks: Sequence[CodeChunk] = (),
        entities: Sequence[EntityNote] = (),
        model: str | None = None,
        max_output_tokens: int | None = None,
        name: str = "answer",
    ) -> Structured:
        """An answer that is JSON and fits `schema`; one that does not is sent back once, with what is wrong with it.

        Asks for the schema by `response_format` where a permitted model knows that, else in words. Raises like `ask`,
        and `BadAnswer`.
        """
        wanted: Mapping[str, Any] | None = {
            "type": "json_schema",
            "json_schema": {"name": name, "schema": dict(schema), "strict": True},
        }
        in_words = f"{prompt}\n\nAnswer with one JSON object alone, fitting this JSON Schema:\n{json.dumps(schema)}"
        messages: list[Mapping[str, Any]] = [{"role": "user", "content": in_words}]

        async def answered() -> Completion:
            return await self.ask(
                messages,
                task_type=task_type,
                system=system,
                chunks=chunks,
                entities=entities,
                model=model,
                max_output_tokens=max_output_tokens,
                temperature=0.0,
                response_format=wanted,
            )

        problem = ""
        for _ in range(2):
            try:
                answer = await answered()
            except NoPermittedModel:
                if wanted is None:
                    raise
                wanted = None  # none of them knows response_format
                answer = await answered()
            value, problem = read_json(answer.text, schema)
            if not problem:
                return Structured(value, answer)
            self._log.info(f"{answer.done.model} answered with what does not fit: {problem}")
            repair = f"That does not fit: {problem}. Answer again with the JSON object alone."
            messages += [
                {"role": "assistant", "content": answer.text or "(nothing)"},
                {"role": "user", "content": repair},
            ]
        raise BadAnswer(f"what the model wrote does not fit the schema: {problem}")

    async def complete(self, request: ModelRequest) -> Completion:
        """The whole answer to a request of one's own. The run's name, workspace and privacy are put on it."""
        return await self._router.complete(self._stamped(request))

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Event], None]:
        """The same in batches of events, as `ModelRouter.stream` gives them."""
        async with aclosing(self._router.stream(self._stamped(request))) as batches:
            async for batch in batches:
                yield batch

    def _stamped(self, request: ModelRequest) -> ModelRequest:
        if request.workspace != self._workspace:
            raise RequestError(f"an agent of workspace `{self._workspace}` asked for `{request.workspace}`")
        self._count += 1
        return replace(
            request,
            request_id=f"{self._run_id}.{self._count}",
            agent=self._agent,
            person_waits=False,
            session_private=request.session_private or self._taint.private,
            queued=self._queued,
        )

    def _queued(self, waiting: bool) -> None:
        if waiting:
            self._before_wait = self._log.current
            self._log.progress(WAITING)
        elif (before := self._before_wait) is not None:
            self._log.progress(before.text, before.done, before.total)
        else:
            self._log.progress("asking the model")


def read_json(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """(value, "") where the text holds JSON that fits the schema, else (None, what is wrong).

    A fence or words around the object are looked past: small models write them however they are asked.
    """
    try:
        value = orjson.loads(_object_of(text))  # no NaN, no half of a character, no endless number or nesting
    except ValueError:
        return None, "it is not JSON"
    error = first_problem(value, schema)
    return (None, error) if error else (value, "")


def _object_of(text: str) -> str:
    begin, end = text.find("{"), text.rfind("}")
    return text[begin : end + 1] if 0 <= begin < end else text
