"""ChatService: gather what the model should see, ask the router, remember the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from app.chat.conversation import Conversation
from app.chat.heard import Heard
from app.chat.hydrate import MOST_HISTORY, offered, own_characters, worth_ranking
from app.chat.records import Session, check_id
from app.chat.sessions import Sessions
from app.chat.state import shown_state
from app.chat.summaries import RollingSummaries
from app.chat.turns import Turn, Turns
from app.config.loader import Config
from app.context.blocks import CodeChunk, EntityNote, Material, OpenFile
from app.context.gap import Gap
from app.context.summary import message_text
from app.errors import Conflict, SidecarError
from app.llm.calls import ModelRequest
from app.llm.events import Done, Event, Explanation
from app.llm.plan import involves_code
from app.llm.router import ModelRouter
from app.memory.retrieval import Retrieval, Retrieved, beside
from app.usage.records import Parent

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`POST /api/v1/chat` as a value; field names are those of the HTTP contract."""

    request_id: str
    messages: tuple[Mapping[str, Any], ...]
    """The query as a user message, or the caller's messages."""
    workspace: str | None = None
    """None: the default workspace."""
    task_type: str = "chat"
    session_id: str | None = None
    contains_code: bool | None = None
    session_state: Mapping[str, Any] | str | None = None
    chunks: tuple[CodeChunk, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    entities: tuple[EntityNote, ...] = ()
    file: OpenFile | None = None
    stacktrace: str | None = None
    retrieve: bool = False
    model: str | None = None
    rule: str | None = None
    """A rule asked for by name, in place of the first that matches."""
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters in OpenAI's words: `top_p`, `seed` and the like."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    gap: Gap | None = None
    """An inline completion: `messages` hold the same text, and nothing else is sent along."""


class ChatService:
    """What chat needs beyond a model: the workspace's defaults, what the request brought along, and its session.

    `config` returns the configuration that is current, `now` the time (UTC), `smallest_window` that of the models there
    are, in tokens.

    One answer at a time per session:

        wait for the turn ── load ── ask the router ── Done or Failed ── store question and answer ── end the turn
                                           │ the client leaves                     ▲
                                           └── what was heard, as a partial answer ┘
    """

    def __init__(
        self,
        router: ModelRouter,
        config: Callable[[], Config],
        sessions: Sessions,
        summaries: RollingSummaries,
        now: Callable[[], datetime],
        smallest_window: Callable[[], int],
        retrieval: Retrieval,
    ) -> None:
        self._router = router
        self._config = config
        self._sessions = sessions
        self._summaries = summaries
        self._now = now
        self._smallest_window = smallest_window
        self._retrieval = retrieval
        self._turns = Turns()
        self._remembering: set[asyncio.Task[str | None]] = set()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[list[Event], None]:
        """Batches of events; see `app.llm.events`.

        Raises a `RequestError` from the first `anext` for everything that must be an HTTP status (workspace, session,
        model, policy, window, budget); once `RouteChosen` was yielded nothing is raised: the stream ends with `Done`
        or `Failed`. Closing the generator (`aclose`) or cancelling the task that iterates closes the upstream
        connection and settles the row as cancelled; of a session's answer, what came so far is stored as partial.
        """
        if request.session_id is not None:
            answer = self._in_session(request, request.session_id)
        else:
            answer = self._router.stream(await self._without_session(request))
        async with aclosing(answer) as batches:
            async for batch in batches:
                yield batch

    async def explain(self, request: ChatRequest) -> Explanation:
        """The same path without a model call. Raises the same `RequestError`s as `stream`."""
        if request.session_id is None:
            return await self._router.explain(await self._without_session(request))
        conversation = await self._conversation(request, request.session_id)
        async with self._continued(request, conversation) as continued:
            return await self._router.explain(continued)

    async def aclose(self) -> None:
        """Let answers that were just heard reach the disk."""
        await asyncio.gather(*self._remembering, return_exceptions=True)

    async def _without_session(self, request: ChatRequest) -> ModelRequest:
        retrieved = await self._retrieved(request, self._workspace(request))
        made = self._model_request(request, _with(self._material(request), retrieved))
        return replace(made, session_private=retrieved.private, warnings=retrieved.warnings)

    async def _in_session(self, request: ChatRequest, session_id: str) -> AsyncGenerator[list[Event], None]:
        turn = await self._turns.take(check_id(session_id))
        heard, asked_at, stored = Heard(), self._now(), False
        session: Session | None = None
        try:
            conversation = await self._conversation(request, session_id)
            session = conversation.session
            if self._private_workspace(conversation):
                await self._sessions.keep_private(conversation)
            async with (
                self._continued(request, conversation) as continued,
                aclosing(self._router.stream(continued)) as batches,
            ):
                if continued.session_private:
                    # What private material brought into the answer is in the session from now on.
                    await self._sessions.keep_private(conversation)
                async for batch in batches:
                    heard.take(batch)
                    if heard.end is not None and heard.anything:
                        stored = True
                        problem = await asyncio.shield(self._remember(request, session, heard, asked_at, turn))
                        yield _with_warning(batch, problem)
                    else:
                        yield batch
        finally:
            # No await here: this also runs when the client has left, and the task is being cancelled.
            if not stored and heard.anything and session is not None:
                self._remember(request, session, heard, asked_at, turn)
            elif not stored:
                turn.end()

    async def _conversation(self, request: ChatRequest, session_id: str) -> Conversation:
        """Raises `NotFound`, and `Conflict` where the request says another workspace than the session's."""
        conversation = await self._sessions.load(session_id)
        workspace = conversation.session.workspace
        if request.workspace not in (None, workspace):
            raise Conflict(
                f"session {session_id!r} belongs to workspace {workspace!r}; leave `workspace` out, or start a session "
                f"in {request.workspace!r}",
                code="session_workspace_mismatch",
                workspace=workspace,
            )
        return conversation

    def _private_workspace(self, conversation: Conversation) -> bool:
        profile = self._config().profile(conversation.session.workspace)
        return profile is not None and profile.block_cloud_apis

    @asynccontextmanager
    async def _continued(self, request: ChatRequest, conversation: Conversation) -> AsyncIterator[ModelRequest]:
        """The request with what its session brings: state, summary, history, and how much each message bears on it.

        The last may still be being computed (the question's embedding takes 4 ms): it ends with the block.
        """
        workspace = conversation.session.workspace
        material = self._material(request, workspace)
        messages = [stored.message for stored in conversation.messages]
        ranking = self._ranking(request, conversation, own_characters(material))
        try:
            if ranking is not None:
                await asyncio.sleep(0)  # the embedding begins before the rest of the work, which is done beside it
            retrieved = await self._retrieved(request, workspace)
            # Of a very long session only the best are offered: that cannot be known before they are ranked.
            early = ranking is not None and len(messages) > MOST_HISTORY
            brought = offered(messages, await ranking if ranking is not None and early else ())
            material = _with(material, retrieved)
            code = request.contains_code
            if code is None:
                code = conversation.has_code or involves_code(material)
            state, summary = conversation.state, conversation.summary
            material = replace(
                material,
                session_state=request.session_state or (shown_state(state.state) if state else None),
                summary=summary.text if summary else None,
                summarised=brought.up_to(summary.to_seq) if summary else 0,
                history=brought.history,
                history_scores=brought.scores,
            )
            made = self._model_request(request, material, workspace)
            yield replace(
                made,
                contains_code=code,
                ranking=None if early else ranking,
                session_private=conversation.session.private or retrieved.private,
                warnings=retrieved.warnings,
            )
        finally:
            if ranking is not None:
                ranking.cancel()

    def _ranking(
        self, request: ChatRequest, conversation: Conversation, characters: int
    ) -> asyncio.Task[list[float | None]] | None:
        """How much each message bears on the query; None where all of them fit anyway."""
        if request.retrieve:
            characters += self._retrieval.most_characters
        if not worth_ranking(conversation.messages, characters, self._smallest_window()):
            return None
        if conversation.unembedded:
            self._sessions.index_soon(conversation.session.id)
        return asyncio.create_task(self._sessions.scores(conversation, _query(request)))

    async def _retrieved(self, request: ChatRequest, workspace: str) -> Retrieved:
        if not request.retrieve:
            return Retrieved()
        return await self._retrieval.retrieve(workspace, _query(request), request.session_id)

    def _remember(
        self, request: ChatRequest, session: Session, heard: Heard, asked_at: datetime, turn: Turn
    ) -> asyncio.Task[str | None]:
        """Store what was asked and heard, then end the turn; a task of its own, so that nobody's leaving stops it."""
        task = asyncio.create_task(self._stored(request, session, heard, asked_at, turn))
        self._remembering.add(task)
        task.add_done_callback(self._remembering.discard)
        return task

    async def _stored(
        self, request: ChatRequest, session: Session, heard: Heard, asked_at: datetime, turn: Turn
    ) -> str | None:
        """What went wrong, as a warning: an answer that cannot be stored is an answer all the same."""
        try:
            messages = heard.messages(request.messages, asked_at, request.request_id)
            await self._sessions.remember(session.id, messages, session)
        except SidecarError as error:
            log.warning("an answer was not stored in session %s: %s", session.id, error.detail)
            return f"the answer was not stored in the session: {error.detail}"
        except Exception:
            log.exception("an answer was not stored in session %s", session.id)
            return "the answer was not stored in the session; the sidecar's log says why"
        finally:
            turn.end()
        self._sessions.index_soon(session.id)
        self._summaries.after_answer(session.id, Parent(request.request_id, None, request.task_type))
        return None

    def _material(self, request: ChatRequest, workspace: str | None = None) -> Material:
        """What the request itself offers."""
        profile = self._config().profile(workspace or self._workspace(request))
        return Material(
            messages=request.messages,
            system_prompt=profile.system_prompt if profile else None,
            session_state=request.session_state,
            history=request.history,
            chunks=request.chunks,
            entities=request.entities,
            file=request.file,
            stacktrace=request.stacktrace,
            tools=request.tools,
        )

    def _workspace(self, request: ChatRequest) -> str:
        return request.workspace or self._config().profiles.default_workspace

    def _model_request(self, request: ChatRequest, material: Material, workspace: str | None = None) -> ModelRequest:
        return ModelRequest(
            request_id=request.request_id,
            workspace=workspace or self._workspace(request),
            task_type=request.task_type,
            material=material,
            contains_code=request.contains_code,
            wish=request.model,
            rule=request.rule,
            max_output_tokens=request.max_output_tokens,
            temperature=request.temperature,
            stop=request.stop,
            response_format=request.response_format,
            tools=request.tools,
            tool_choice=request.tool_choice,
            sampling=request.sampling,
            gap=request.gap,
            metadata=request.metadata,
            session_id=request.session_id,
        )


def _query(request: ChatRequest) -> str:
    return "\n".join(message_text(message) for message in request.messages if message.get("role") == "user")


def _with(material: Material, retrieved: Retrieved) -> Material:
    """What the request brought comes first; what was found stands beside it."""
    if not (retrieved.chunks or retrieved.entities):
        return material
    entities = (*material.entities, *retrieved.entities)
    return replace(material, chunks=beside(material.chunks, retrieved.chunks), entities=entities)


def _with_warning(batch: list[Event], problem: str | None) -> list[Event]:
    if problem is None:
        return batch
    return [replace(e, warnings=(*e.warnings, problem)) if isinstance(e, Done) else e for e in batch]
