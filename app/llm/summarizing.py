"""Strategy 3, within a request: older messages that were left out come back as a summary.

    lost messages ── kept from an earlier request? ── yes ──> fold, fit again ── nothing more lost ──> done
                              │ no, or not all                                          │
                              ▼                                                         ▼
                 ask the route's summariser, within a bound <───────────────────────────┘
                              │ an answer             │ late, refused, failed, or nobody to ask
                              ▼                       ▼
                        accept_summary <── the built-in extractive summary
                              │
                              └──> fold, fit again

Nothing stored changes, and whatever goes wrong here costs the summary and never the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from app.context.blocks import Kind, Message, Outcome
from app.context.builder import Prepared
from app.context.extract import extractive_summary
from app.context.summary import (
    SUMMARY_TOKENS,
    SummaryPlan,
    Verdict,
    accept_summary,
    fold,
    message_text,
    older_blocks,
    summary_material,
)
from app.context.tokens import TokenCounter
from app.errors import ContextTooLarge, SidecarError
from app.llm.calls import ModelRequest, child_id
from app.llm.fitting import Fitted, Fitter
from app.llm.plan import SUMMARIZER, Plan
from app.routing.route import Origin
from app.routing.spec import ModelSpec

TASK_TYPE = "summarization"
OUTPUT_TOKENS = 2 * SUMMARY_TOKENS
MOST_INPUT_TOKENS = 6_000
"""What a summariser is given to read at most: more takes a local model longer than anybody waits."""
REMEMBERED = 64
"""Summaries kept for clients that send their whole conversation with every request."""

WRITTEN_LATER = "the session's own summary is written after the answer"

Ask = Callable[[ModelRequest], Awaitable[str]]
"""A model's whole answer. Raises `SidecarError`."""


@dataclass(frozen=True, slots=True)
class Summarised:
    """The window to send, and what the person should know about how it came to be."""

    fitted: Fitted
    warnings: tuple[str, ...] = ()


class Memory:
    """Summaries of this process's requests, found again by the messages they stand for. No message is kept.

    A client that sends its whole conversation with every request is thus summarised for once, and then only as it
    grows. A summary made without a model is kept as well: to wait for a slow summariser again would help nobody.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, str | None, frozenset[str]], str] = OrderedDict()

    def find(self, workspace: str, previous: str | None, offered: Sequence[str]) -> tuple[frozenset[str], str] | None:
        """The (marks, summary) that stands for most of the messages offered, and for no others."""
        there = frozenset(offered)
        usable = [key for key in self._kept if key[:2] == (workspace, previous) and key[2] <= there]
        if not usable:
            return None
        best = max(usable, key=lambda key: len(key[2]))
        self._kept.move_to_end(best)
        return best[2], self._kept[best]

    def keep(self, workspace: str, previous: str | None, covered: frozenset[str], summary: str) -> None:
        self._kept[workspace, previous, covered] = summary
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)


def mark(messages: Sequence[Message]) -> str:
    """What a run of messages is recognised by."""
    written = json.dumps(messages, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.blake2b(written.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Summariser:
    """One per router. `fold` never raises for a summary that failed."""

    def __init__(self, fitter: Fitter, counter: TokenCounter) -> None:
        self._fitter = fitter
        self._counter = counter
        self._memory = Memory()

    async def fold(self, plan: Plan, fitted: Fitted, ask: Ask, resting: str | None) -> Summarised:
        """`fitted` with a summary in the place of what it lost. `resting`: why the summariser should not be asked."""
        origin = plan.prepared.material.summary
        covered: frozenset[str] = frozenset()
        if (known := self._remembered(plan, fitted)) is not None:
            folded = await self._put(plan, fitted, *known[1:], "a summary that was written for an earlier request")
            if folded is not None:
                fitted, covered = folded, known[0]
        if (lost := fitted.lost) is None:
            return Summarised(fitted)
        text, writer, warning = await self._written(plan, fitted, lost, ask, resting)
        warnings = (warning,) if warning else ()
        folded = None if text is None else await self._put(plan, fitted, lost, text, writer)
        if folded is None:
            return Summarised(noted(fitted, f"older messages were left out: {warning or 'no room for a summary'}"))
        assert text is not None
        marks = {mark(block.turns[0]) for block in fitted.prepared.blocks if block.id in set(lost.block_ids)}
        self._memory.keep(plan.request.workspace, origin, covered | marks, text)
        return Summarised(folded, warnings)

    def _remembered(self, plan: Plan, fitted: Fitted) -> tuple[frozenset[str], SummaryPlan, str] | None:
        """(marks, what to fold, summary) of an earlier request over the same messages."""
        older = [(mark(block.turns[0]), block) for block in older_blocks(fitted.prepared)]
        previous = fitted.prepared.material.summary
        found = self._memory.find(plan.request.workspace, previous, [key for key, _ in older])
        if found is None:
            return None
        blocks = [block for key, block in older if key in found[0]]
        messages = tuple(message for block in blocks for message in block.turns[0])
        return found[0], SummaryPlan(tuple(b.id for b in blocks), messages, previous, 0), found[1]

    async def _put(self, plan: Plan, fitted: Fitted, lost: SummaryPlan, text: str, writer: str) -> Fitted | None:
        """The window with the summary in the messages' place; None where it found no room."""
        prepared: Prepared = await fold(self._fitter.builder, fitted.prepared, lost, text)
        try:
            folded = await self._fitter.again(plan, fitted, prepared)
        except ContextTooLarge:  # the model was found to count more than it did when the window was fitted
            return None
        if not any(b.kind == Kind.SUMMARY and b.outcome is not Outcome.DROPPED for b in folded.window.blocks):
            return None
        return noted(folded, f"{len(lost.block_ids)} older messages stand in the summary, by {writer}")

    async def _written(
        self, plan: Plan, fitted: Fitted, lost: SummaryPlan, ask: Ask, resting: str | None
    ) -> tuple[str | None, str, str | None]:
        """(summary, who wrote it, what went wrong)."""
        model, tokenizer = plan.route.summarizer, fitted.model.tokenizer
        problem = _nobody(plan) if model is None else f"{model.id} is {resting}" if resting else None
        if model is not None and _bound(plan) <= 0 and plan.request.session_id is not None:
            problem = WRITTEN_LATER
        if model is not None and problem is None:
            verdict = await self._asked(plan, lost, model, ask)
            if verdict.text is not None:
                verdict = await self._accepted(lost, verdict.text, tokenizer)
            if verdict.text is not None:
                return verdict.text, model.id, None
            problem = f"{model.id} did not summarise older messages: {verdict.reason}"
        verdict = await self._accepted(lost, await self._extracted(lost), tokenizer)
        if verdict.text is None:
            return None, "", problem
        quiet = model is None or problem == WRITTEN_LATER
        warning = None if quiet else f"{problem}; sentences were picked from them without a model"
        return verdict.text, f"the built-in extraction ({problem})", warning

    async def _asked(self, plan: Plan, lost: SummaryPlan, model: ModelSpec, ask: Ask) -> Verdict:
        """What the model wrote, within the configured bound; or why it wrote nothing."""
        bound = _bound(plan)
        if bound <= 0:
            return Verdict(None, "routing.yaml lets no answer wait for it")
        try:
            async with asyncio.timeout(bound):
                return Verdict(await ask(self._request(plan, lost, model)), "written")
        except TimeoutError:
            return Verdict(None, f"it took longer than {bound:g} s")
        except SidecarError as error:
            return Verdict(None, error.detail)

    def _request(self, plan: Plan, lost: SummaryPlan, model: ModelSpec) -> ModelRequest:
        """The same workspace, session, privacy and budgets; a request and rows of its own."""
        asking = plan.request
        parent = asking.as_parent
        room = (model.context_window.value - OUTPUT_TOKENS) / self._fitter.calibrator.factor(model.id)
        room = min(room, MOST_INPUT_TOKENS) * _sparseness(lost)
        return ModelRequest(
            request_id=child_id(parent),
            workspace=asking.workspace,
            task_type=TASK_TYPE,
            material=summary_material(lost, int(room)),
            contains_code=plan.facts.contains_code,
            wish=model.id,
            max_output_tokens=OUTPUT_TOKENS,
            metadata={"summary_for": asking.request_id},
            agent=SUMMARIZER,
            parent=parent,
            session_id=asking.session_id,
            session_private=asking.session_private,
            person_waits=asking.interactive,
            one_try=True,
        )

    async def _accepted(self, lost: SummaryPlan, text: str, tokenizer: str) -> Verdict:
        size = len(text) + sum(len(message_text(message)) for message in lost.messages)
        return await self._counter.run(lambda: accept_summary(lost, text, self._counter, tokenizer), size, tokenizer)

    async def _extracted(self, lost: SummaryPlan) -> str:
        whole = "\n".join([lost.previous or "", *(message_text(message) for message in lost.messages)])
        return await self._counter.run(lambda: extractive_summary(whole, SUMMARY_TOKENS), len(whole), "bytes")


def _sparseness(lost: SummaryPlan) -> float:
    """1 where a token holds at least the three characters `summary_material` counts on; less for Chinese, say."""
    characters = sum(len(message_text(message)) for message in lost.messages)
    return min(1.0, 0.9 * characters / (3 * max(1, lost.tokens)))


def would_summarise(plan: Plan, fitted: Fitted) -> Fitted:
    """For `explain`: the same window, and what a request would do about its loss."""
    if fitted.lost is None:
        return fitted
    model = plan.route.summarizer
    if model is None:
        writer = f"the built-in extraction ({_nobody(plan)})"
    elif plan.request.session_id is not None and _bound(plan) <= 0:
        writer = f"the built-in extraction ({WRITTEN_LATER})"
    else:
        writer = model.id
    return noted(fitted, f"{len(fitted.lost.block_ids)} older messages would be summarised by {writer}")


def _bound(plan: Plan) -> float:
    """Seconds an answer waits for a summary. A session's own is written after the answer: nobody need wait for it."""
    settings = plan.policy.config.routing.summary
    return settings.max_wait_seconds if plan.request.session_id is None else settings.session_wait_seconds


def _nobody(plan: Plan) -> str:
    """Why the route has no summariser."""
    removed = next((r for r in plan.route.removed if r.origin is Origin.SUMMARIZER), None)
    return "models.yaml names no summarizer" if removed is None else removed.reason


def noted(fitted: Fitted, note: str) -> Fitted:
    """The same window with a note for the person."""
    return replace(fitted, window=replace(fitted.window, notes=(*fitted.window.notes, note)))
