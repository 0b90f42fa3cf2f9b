"""ContextBuilder: from all that is offered to what one model is sent. Truncates by priority (strategy 1).

Upgrading (strategy 2) and summarising (strategy 3) need a policy and a model: `app.llm` orchestrates them with
`app.context.upgrade` and `app.context.summary`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from app.context.blocks import (
    BlockOutcome,
    ContextBlock,
    ContextWindow,
    Kind,
    Material,
    Message,
    Outcome,
    Priority,
)
from app.context.conversation import SYSTEM_ROLES, by_relevance
from app.context.fence import one_line
from app.context.fit import DoesNotFit, FitPlan, Sized, by_priority, fit_sorted
from app.context.gather import gather
from app.context.render import ENTITY_LABELS, Ordered, in_order, render_ordered
from app.context.tokens import MESSAGE_OVERHEAD, REQUEST_OVERHEAD, TokenCounter, Tokenizer, tokenizer_of
from app.errors import ContextTooLarge

SIMILARITY_LINE = 0.80
"""The seed's line between more and less relevant chunks (cosine similarity)."""
OUTPUT_SHARE = 4
DEFAULT_OUTPUT = 8_192
"""Room kept for the answer where nobody asked for a length: a quarter of the window, at most this and the model's own
limit. The seed keeps 2,000 of 8,192."""
SECTION_OVERHEAD = 10
"""Label and fence of a list of entities."""
REFITS = 6
PUT_BACK = 24
"""Blocks that are tried once more, one by one, where something of priority 2 had to go."""
TOOL_CHARACTERS = 2_000
CALL_CHARACTERS = 500
BLOCK_CHARACTERS = 60
"""A block costs as much time to gather, fit and render as counting so much text: 3 µs."""
_SYSTEM_KINDS = frozenset({Kind.SYSTEM, Kind.SESSION_STATE, Kind.ENTITY, Kind.SUMMARY})


@dataclass(slots=True)
class Prepared:
    """A request's material as blocks, ready to be fitted to any number of models; counts are kept per tokenizer."""

    material: Material
    blocks: tuple[ContextBlock, ...]
    """Their order is their rank: the best of each priority first."""
    settled: tuple[BlockOutcome, ...]
    """What became of material before any fitting: chunks that another block shows, messages that were summarised."""
    plain: Message | None
    """The one user message of a request that has nothing else: needs no fitting."""
    counter: TokenCounter
    similarity_line: float = SIMILARITY_LINE
    _sizes: dict[Tokenizer, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    _messages: dict[Tokenizer, Mapping[int, int]] = field(default_factory=dict)
    _order: Ordered | None = field(default=None, init=False)
    """Of these blocks alone: `replace` leaves it out."""

    @property
    def order(self) -> Ordered:
        """The blocks as they stand in the prompt; their rank makes no difference to it."""
        if self._order is None:
            self._order = in_order(self.blocks)
        return self._order

    def with_scores(self, scores: Sequence[float | None]) -> Prepared:
        """The same with `Material.history_scores`, where they were not there yet; what was counted stays counted."""
        of_talk = [s for m, s in zip(self.material.history, scores, strict=False) if m.get("role") not in SYSTEM_ROLES]
        material = replace(self.material, history_scores=tuple(scores))
        ranked = by_relevance(self.blocks, self.order[Kind.HISTORY], of_talk)
        scored = replace(self, material=material, blocks=ranked)
        scored._order = self._order
        return scored

    async def total_tokens(self, tokenizer: str) -> int:
        """All that is offered, before any trimming, as one request's tokens."""
        if (plain := self.plain) is not None:
            work = partial(self.counter.messages_tokens, (plain,), tokenizer)
            return await self.counter.run(work, self._uncounted(tokenizer), tokenizer)
        sizes = await self.sizes(tokenizer)
        return self.overhead() + sum(variants[0] for variants in sizes.values())

    async def sizes(self, tokenizer: str) -> Mapping[str, tuple[int, ...]]:
        """Tokens of each variant of each block, by id; counted once per tokenizer, off the event loop if large."""
        key = tokenizer_of(tokenizer)
        if key not in self._sizes:
            # What was counted for another model of the same vocabulary is not even looked for.
            known = any(other.encoding == key.encoding for other in self._sizes)
            effort = (0 if known else self._uncounted(tokenizer)) + BLOCK_CHARACTERS * len(self.blocks)
            counted = await self.counter.run(lambda: self._count(tokenizer), effort, tokenizer)
            self._sizes[key], self._messages[key] = counted
        return self._sizes[key]

    def messages_tokens(self, messages: Sequence[Message], tokenizer: str) -> int:
        """Tokens of a request's messages; those that are messages of the blocks, unchanged, are not counted again."""
        known = self._messages.get(tokenizer_of(tokenizer), {})
        counted = list(map(known.get, map(id, messages)))
        fresh = [message for message, tokens in zip(messages, counted, strict=True) if tokens is None]
        return REQUEST_OVERHEAD + sum(filter(None, counted)) + sum(self.counter.tokens_of_each(fresh, tokenizer))

    def overhead(self) -> int:
        """Tokens of what holds the blocks together."""
        kinds = {block.kind for block in self.blocks}
        lists = sum(SECTION_OVERHEAD for kind in ENTITY_LABELS if kind in kinds)
        return REQUEST_OVERHEAD + lists + (MESSAGE_OVERHEAD if kinds & _SYSTEM_KINDS else 0)

    def _uncounted(self, tokenizer: str) -> int:
        """Characters that have to be counted still: a stored conversation is known but for its newest messages."""
        messages = [m for block in self.blocks for turn in block.turns for m in turn]
        if self.plain is not None:
            messages.append(self.plain)
        texts = [content for m in messages if isinstance(content := m.get("content"), str)]
        texts += [text for block in self.blocks for text in block.texts]
        others = sum(_other_characters(message) for message in messages) + TOOL_CHARACTERS * len(self.material.tools)
        return others + self.counter.uncounted(texts, tokenizer)

    def fitting_effort(self, budget: int) -> int:
        """What choosing, rendering and recounting cost, in characters to count: what is no message is counted anew."""
        texts = sum(len(block.texts[0]) for block in self.blocks if block.texts)
        return min(texts, 4 * budget) + BLOCK_CHARACTERS * len(self.blocks)

    def _count(self, tokenizer: str) -> tuple[Mapping[str, tuple[int, ...]], Mapping[int, int]]:
        """By block, and by the identity of each message in them: they live as long as the blocks do."""
        count, tools = self.counter.count, Kind.TOOLS
        all_messages = [message for block in self.blocks for turn in block.turns for message in turn]
        counted = self.counter.tokens_of_each(all_messages, tokenizer)
        messages = dict(zip(map(id, all_messages), counted, strict=True))
        sizes: dict[str, tuple[int, ...]] = {}
        for block in self.blocks:
            if block.turns:
                sizes[block.id] = tuple([sum([messages[id(message)] for message in turn]) for turn in block.turns])
            elif block.kind is tools:
                sizes[block.id] = (self.counter.tools_tokens(self.material.tools, tokenizer),)
            else:
                included = sizes[block.includes][0] if block.includes else 0
                sizes[block.id] = tuple(max(0, count(text, tokenizer) + 1 - included) for text in block.texts)
        return sizes, messages


class ContextBuilder:
    """Holds no state of its own beyond the counter's cache; one instance serves all requests."""

    def __init__(self, counter: TokenCounter, similarity_line: float = SIMILARITY_LINE) -> None:
        self._counter = counter
        self._similarity_line = similarity_line

    @property
    def counter(self) -> TokenCounter:
        return self._counter

    async def prepare(self, material: Material, similarity_line: float | None = None) -> Prepared:
        """Make blocks of all that is offered; independent of any model. `similarity_line` None: the builder's own."""
        plain = _plain(material)
        line = self._similarity_line if similarity_line is None else similarity_line
        if plain is not None:
            return Prepared(material, (), (), plain, self._counter, line)
        gathered = await self._counter.run(lambda: gather(material, line), _gathering_effort(material), "bytes")
        tools = (ContextBlock("tools", Kind.TOOLS, Priority.NEVER_TRIM),) if material.tools else ()
        chunks = [(Kind.CHUNK, a.chunk.path or "", f"shown in {a.into}") for a in gathered.absorbed]
        entities = [(Kind.ENTITY, one_line(e.name), "another block names it") for e in gathered.repeated]
        settled = tuple(
            BlockOutcome(f"absorbed:{i}:{name}", kind.value, 3, 0, Outcome.DROPPED, reason)
            for i, (kind, name, reason) in enumerate([*chunks, *entities])
        )
        return Prepared(material, tools + gathered.blocks, settled, None, self._counter, line)

    async def fit(
        self,
        prepared: Prepared,
        *,
        model_id: str,
        window: int,
        max_output_tokens: int | None = None,
        wanted_output: int | None = None,
        tokenizer: str,
        factor: float = 1.0,
        shrink: float = 1.0,
    ) -> ContextWindow:
        """Choose what goes to a model with `window` tokens for input and output together.

        `max_output_tokens` is the model's limit, `wanted_output` the request's; `factor` the model's calibration;
        `shrink` below 1 leaves room after a provider called the prompt too long. Raises `ContextTooLarge` where what
        may never be trimmed does not fit.
        """
        offered = await prepared.total_tokens(tokenizer) * factor if wanted_output is not None else 0
        reserved = output_reserve(window, max_output_tokens, wanted_output, math.ceil(offered))
        least = min(reserved, output_reserve(window, max_output_tokens, None))
        try:
            return await self._fit(prepared, _target(model_id, window, reserved, tokenizer, factor, shrink))
        except ContextTooLarge:
            # A large wish is a ceiling: it does not turn away a prompt that fits beside the usual reserve.
            if least == reserved:
                raise
        return await self._fit(prepared, _target(model_id, window, least, tokenizer, factor, shrink))

    async def _fit(self, prepared: Prepared, target: _Target) -> ContextWindow:
        tokenizer = target.tokenizer
        if prepared.plain is not None:
            return self._plain_window(target, prepared.plain, await prepared.total_tokens(tokenizer))
        sizes = await prepared.sizes(tokenizer)
        return await self._counter.run(
            lambda: self._fitted(prepared, sizes, target), prepared.fitting_effort(target.budget), tokenizer
        )

    def _plain_window(self, target: _Target, message: Message, tokens: int) -> ContextWindow:
        if tokens > target.budget:
            raise target.too_large(tokens)
        block = BlockOutcome("query", "query", 1, tokens, Outcome.KEPT, "never trimmed")
        return ContextWindow(
            target.model_id, target.window, target.scaled(tokens), target.reserved, (message,), (block,)
        )

    def _fitted(self, prepared: Prepared, sizes: Mapping[str, tuple[int, ...]], target: _Target) -> ContextWindow:
        sized = [
            Sized(block.id, int(block.priority), rank, sizes[block.id]) for rank, block in enumerate(prepared.blocks)
        ]
        plan, messages, tokens = self._recounted(prepared, sized, target)
        last = int(Priority.TRIM_LAST)
        if any(size.priority == last and size.id not in plan.chosen for size in sized):
            plan, messages, tokens = self._priority_2_first(prepared, sized, target)
        return ContextWindow(
            model=target.model_id,
            window=target.window,
            input_tokens=target.scaled(tokens),
            reserved_output=target.reserved,
            messages=messages,
            blocks=(*_outcomes(prepared.blocks, sizes, plan), *prepared.settled),
            priority_2_lost=_lost(sized, plan),
        )

    def _recounted(
        self, prepared: Prepared, sized: Sequence[Sized], target: _Target
    ) -> tuple[FitPlan, tuple[Message, ...], int]:
        """Fit, render, and count the rendered whole: sums of blocks can be a few tokens off, and gaps are marked."""
        room = target.budget - prepared.overhead()
        fixed = sum(size.sizes[0] for size in sized if size.id == "tools")
        groups, order = by_priority(sized), prepared.order
        for attempt in range(REFITS + 1):
            try:
                plan = fit_sorted(groups, room) if attempt < REFITS else _essentials(sized)
            except DoesNotFit:
                plan = _essentials(sized)  # the exact count of the whole decides
            messages = render_ordered(order, plan.chosen)
            tokens = fixed + prepared.messages_tokens(messages, target.tokenizer)
            if tokens <= target.budget:
                return plan, messages, tokens
            if len(plan.chosen) == sum(1 for size in sized if size.priority == Priority.NEVER_TRIM):
                raise target.too_large(tokens)
            # Doubling: leaving a message out can add a gap marker, so one step of the excess may not be enough.
            room = min(room, plan.tokens) - max(1, tokens - target.budget) * 2**attempt
        raise target.too_large(tokens)

    def _priority_2_first(
        self, prepared: Prepared, sized: Sequence[Sized], target: _Target
    ) -> tuple[FitPlan, tuple[Message, ...], int]:
        """Where priority 2 loses a block: chosen as though there were no priority 3, which gets what is left.

        Each block that is put back is rendered and counted with the whole: the steps of `_recounted` can overshoot.
        """
        essential = [size for size in sized if size.priority != Priority.TRIM_FIRST]
        plan, messages, tokens = self._recounted(prepared, essential, target)
        fixed = sum(size.sizes[0] for size in sized if size.id == "tools")
        tries = PUT_BACK
        for size in sorted(sized, key=lambda size: (size.priority, size.rank)):
            room = target.budget - tokens + SECTION_OVERHEAD
            if size.id in plan.chosen or size.sizes[-1] > room or tries == 0:
                continue
            tries -= 1
            variant = next(index for index, cost in enumerate(size.sizes) if cost <= room)
            with_it = FitPlan({**plan.chosen, size.id: variant}, plan.tokens + size.sizes[variant])
            rendered = render_ordered(prepared.order, with_it.chosen)
            counted = fixed + prepared.messages_tokens(rendered, target.tokenizer)
            if counted <= target.budget:
                plan, messages, tokens = with_it, rendered, counted
        return plan, messages, tokens


@dataclass(frozen=True, slots=True)
class _Target:
    """One model's numbers. `budget` is in the counter's tokens, before the model's calibration factor."""

    model_id: str
    window: int
    reserved: int
    tokenizer: str
    factor: float
    budget: int

    def scaled(self, tokens: int) -> int:
        return tokens if self.factor == 1.0 else math.ceil(tokens * self.factor)

    def too_large(self, tokens: int) -> ContextTooLarge:
        needed = self.scaled(tokens)
        return ContextTooLarge(
            f"what may not be trimmed needs {needed:,} tokens; {self.model_id} has a window of {self.window:,}, of "
            f"which {self.reserved:,} are kept for the answer; send less, or name a model with a larger window",
            model=self.model_id,
            window=self.window,
            needed_tokens=needed,
            reserved_output=self.reserved,
        )


def output_reserve(window: int, max_output_tokens: int | None, wanted_output: int | None, offered: int = 0) -> int:
    """Tokens kept for the answer: what the request wants, else a quarter of the window and at most `DEFAULT_OUTPUT`;
    never more than the model can write.

    `offered`: tokens of all that could be sent. A wish may take half of the window from it, and what it leaves free.
    """
    if wanted_output is None:
        reserve = min(window // OUTPUT_SHARE, DEFAULT_OUTPUT)
    else:
        reserve = min(wanted_output, max(window // 2, window - offered))
    return min(reserve, max_output_tokens) if max_output_tokens is not None else reserve


def _target(model_id: str, window: int, reserved: int, tokenizer: str, factor: float, shrink: float) -> _Target:
    return _Target(model_id, window, reserved, tokenizer, factor, int((window - reserved) * shrink / factor))


def _essentials(sized: Sequence[Sized]) -> FitPlan:
    never = [size for size in sized if size.priority == Priority.NEVER_TRIM]
    return FitPlan({size.id: 0 for size in never}, sum(size.sizes[0] for size in never))


def _outcomes(
    blocks: Sequence[ContextBlock], sizes: Mapping[str, tuple[int, ...]], plan: FitPlan
) -> list[BlockOutcome]:
    outcomes = []
    # Python 3.11 takes 0.2 µs to find an enum's member, and does so in Python.
    kept, shortened, dropped, never_trim = Outcome.KEPT, Outcome.SHORTENED, Outcome.DROPPED, Priority.NEVER_TRIM
    chosen_variant = plan.chosen.get
    for block in blocks:
        name, variants = block.id, sizes[block.id]
        variant = chosen_variant(name)
        if variant is None:
            tokens, outcome, reason = variants[0], dropped, f"no room for its {variants[-1]} tokens"
        elif variant > 0:
            tokens, outcome, reason = variants[variant], shortened, f"shortened from {variants[0]} tokens"
        else:
            tokens, outcome = variants[0], kept
            reason = "never trimmed" if block.priority == never_trim else "fits"
        outcomes.append(BlockOutcome(name, str(block.kind), int(block.priority), tokens, outcome, reason))
    return outcomes


def _lost(sized: Sequence[Sized], plan: FitPlan) -> float:
    """The share of priority-2 tokens that did not go in."""
    offered = kept = 0
    last = int(Priority.TRIM_LAST)
    for size in sized:
        if size.priority == last:
            offered += size.sizes[0]
            variant = plan.chosen.get(size.id)
            kept += 0 if variant is None else size.sizes[variant]
    return 0.0 if offered == 0 else (offered - kept) / offered


def _plain(material: Material) -> Message | None:
    """The lone user message of a request with nothing beside it."""
    if len(material.messages) != 1 or material.messages[0].get("role") != "user":
        return None
    if (
        material.system_prompt
        or material.session_state
        or material.summary
        or material.history
        or material.chunks
        or material.entities
        or material.file is not None
        or material.stacktrace
        or material.tools
    ):
        return None
    return material.messages[0]


def _gathering_effort(material: Material) -> int:
    """What making blocks costs, in characters to count: files, traces and chunks are read, messages are only sorted."""
    total = BLOCK_CHARACTERS * (len(material.messages) + len(material.history) + len(material.entities))
    total += len(material.system_prompt or "") + len(material.summary or "") + len(material.stacktrace or "")
    total += sum(len(chunk.text) for chunk in material.chunks) + (len(material.file.text) if material.file else 0)
    total += sum(len(entity.summary or "") for entity in material.entities)
    state = material.session_state
    return total + (len(state) if isinstance(state, str) else len(str(state)) if state else 0)


def _other_characters(message: Message) -> int:
    """About how much of a message beside its plain content is to be counted."""
    content = message.get("content")
    extra = CALL_CHARACTERS * len(message.get("tool_calls") or ())
    if isinstance(content, str):
        return extra
    return sum(len(str(part.get("text", ""))) for part in content or () if isinstance(part, Mapping)) + extra
