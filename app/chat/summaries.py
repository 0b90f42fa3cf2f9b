"""Rolling summaries: after an answer, what has become old is folded into the session's summary, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.chat.conversation import Conversation
from app.chat.records import StoredMessage, SummaryRecord
from app.chat.sessions import Sessions
from app.config.loader import Config
from app.context.conversation import RECENT_MESSAGES
from app.context.extract import extractive_summary
from app.context.summary import SUMMARY_TOKENS, SummaryPlan, accept_summary, summary_material
from app.context.tokens import TokenCounter
from app.errors import NotFound, SidecarError
from app.llm.asking import complete_somehow
from app.llm.calls import ModelRequest, child_id
from app.llm.extractive import MODEL_ID as EXTRACTIVE
from app.llm.plan import COUNTING_TOKENIZER
from app.llm.router import ModelRouter
from app.usage.records import Parent

log = logging.getLogger(__name__)

TASK_TYPE = "summarization"
AGENT = "summarizer"
FOLD_CHARACTERS = 12_000
"""Old messages not in the summary yet are folded from here on: about 3,000 tokens, half of what a window of 8,192
leaves for input. Below, they are better sent as they are."""
MOST_CHARACTERS = 16_000
"""Folded in one go: what a summariser with a window of 8,192 can read beside the summary so far."""
INPUT_TOKENS = 5_600
OUTPUT_TOKENS = 2 * SUMMARY_TOKENS
FOLDS_IN_A_ROW = 12
"""A long imported conversation is folded over several answers."""
GROWTH_AFTER_FAILURE = 1.5
"""A summariser that failed is asked again when so much more has become old, not after every answer."""
REMEMBERED_FAILURES = 1_000


@dataclass(frozen=True, slots=True)
class Fold:
    """The next messages to fold, oldest first, and how many characters wait in all."""

    messages: tuple[StoredMessage, ...]
    waiting: int


def next_fold(messages: Sequence[StoredMessage], covered_to: int) -> Fold | None:
    """What to fold after the message `covered_to` (-1: from the start); None while that is too little.

    Never any of the newest five; tool results stay with the calls before them.
    """
    old = messages[covered_to + 1 : max(0, len(messages) - RECENT_MESSAGES)]
    sizes = [len(message.text) for message in old]
    waiting = sum(sizes)
    if waiting < FOLD_CHARACTERS:
        return None
    taken = room = 0
    while taken < len(old) and (taken == 0 or room + sizes[taken] <= MOST_CHARACTERS or _is_result(old[taken])):
        room += sizes[taken]
        taken += 1
    return Fold(tuple(old[:taken]), waiting)


def _is_result(stored: StoredMessage) -> bool:
    return stored.message.get("role") == "tool"


class RollingSummaries:
    """One fold at a time per session. What fails changes nothing that is stored."""

    def __init__(
        self,
        sessions: Sessions,
        router: ModelRouter,
        counter: TokenCounter,
        config: Callable[[], Config],
        now: Callable[[], datetime],
    ) -> None:
        self._sessions = sessions
        self._router = router
        self._counter = counter
        self._config = config
        self._now = now
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failed: OrderedDict[str, int] = OrderedDict()

    def after_answer(self, session_id: str, asked: Parent) -> None:
        """Fold what is due, in the background; nothing where that is under way already. `asked`: the request that was
        answered; budgets of its agent and task type pay."""
        if session_id not in self._tasks:
            task = asyncio.create_task(self._fold_all(session_id, asked))
            self._tasks[session_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(session_id))

    async def settled(self) -> None:
        """Returns when no fold is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def aclose(self) -> None:
        """Give up what is under way; a fold that was not stored is made again after the next answer."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _fold_all(self, session_id: str, asked: Parent) -> None:
        try:
            for _ in range(FOLDS_IN_A_ROW):
                if not await self._fold_once(session_id, asked):
                    return
        except NotFound:
            self._failed.pop(session_id, None)  # deleted meanwhile
        except SidecarError as error:
            log.warning("session %s was not summarised: %s", session_id, error.detail)
        except Exception:
            log.exception("session %s was not summarised", session_id)

    async def _fold_once(self, session_id: str, asked: Parent) -> bool:
        """Fold the next messages; False where nothing is due, or it failed."""
        conversation = await self._sessions.load(session_id)
        summary = conversation.summary
        fold = next_fold(conversation.messages, summary.to_seq if summary else -1)
        if fold is None or fold.waiting < self._failed.get(session_id, 0) * GROWTH_AFTER_FAILURE:
            return False
        record = await self._summarised(conversation, fold, asked)
        if record is None:
            self._failed[session_id] = fold.waiting
            while len(self._failed) > REMEMBERED_FAILURES:
                self._failed.popitem(last=False)
            return False
        self._failed.pop(session_id, None)
        await self._sessions.put_summary(session_id, record, conversation.session)
        return True

    async def _summarised(self, conversation: Conversation, fold: Fold, asked: Parent) -> SummaryRecord | None:
        """The summary that may stand for everything up to the fold's end; None where what came back may not."""
        previous = conversation.summary
        plan = await self._plan(fold, previous.text if previous else None)
        text, model = await self._written(conversation, plan, asked)
        verdict = await self._counter.run(
            lambda: accept_summary(plan, text, self._counter, COUNTING_TOKENIZER), fold.waiting, COUNTING_TOKENIZER
        )
        if verdict.text is None:
            log.info("a summary of session %s by %s was refused: %s", conversation.session.id, model, verdict.reason)
            return None
        first = previous.from_seq if previous else 0
        return SummaryRecord(verdict.text, first, fold.messages[-1].seq, model, self._now())

    async def _plan(self, fold: Fold, previous: str | None) -> SummaryPlan:
        messages = tuple(stored.message for stored in fold.messages)
        tokens = await self._counter.run(
            lambda: sum(self._counter.message_tokens(message, COUNTING_TOKENIZER) for message in messages),
            fold.waiting,
            COUNTING_TOKENIZER,
        )
        ids = tuple(f"history:{stored.seq}" for stored in fold.messages)
        return SummaryPlan(ids, messages, previous, tokens)

    async def _written(self, conversation: Conversation, plan: SummaryPlan, asked: Parent) -> tuple[str, str]:
        """A summary and who wrote it: a model, or where none answers the built-in extraction."""
        session = conversation.session
        material = summary_material(plan, INPUT_TOKENS)
        answer = await complete_somehow(
            self._router,
            ModelRequest(
                request_id=child_id(asked),
                workspace=session.workspace,
                task_type=TASK_TYPE,
                material=material,
                contains_code=conversation.has_code,
                wish=self._config().models.summarizer,
                max_output_tokens=OUTPUT_TOKENS,
                agent=AGENT,
                parent=asked,
                session_id=session.id,
                session_private=session.private,
            ),
        )
        if answer is not None:
            return answer.text, answer.done.model
        whole = "\n".join([plan.previous or "", *(str(m.get("content") or "") for m in plan.messages)])
        text = await self._counter.run(lambda: extractive_summary(whole, SUMMARY_TOKENS), len(whole), "bytes")
        return text, EXTRACTIVE
