"""One call to one model: a pending row beside it, its chunks counted as they pass, its row settled when it ends."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, fields, replace

from app.context.tokens import TokenCounter, image_tokens
from app.errors import AttemptError, AttemptTimeout, BadChunk, ConnectionLost
from app.llm.calibrating import Calibrator
from app.llm.calls import Chunk, Finish, ModelCall, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from app.llm.client import LLMClient
from app.llm.clock import Clock
from app.llm.events import AttemptReport
from app.llm.fitting import Fitted
from app.llm.plan import Plan
from app.llm.watchdog import Limits
from app.usage.budgets import Budgets, Reservation
from app.usage.ledger import Outcome, UsageLedger
from app.usage.pricing import TokenCounts, price_attempt
from app.usage.receipts import build_receipt
from app.usage.records import AttemptEnd, AttemptStart, Receipt, Status

Content = TextDelta | ReasoningDelta | ToolCallDelta

WORK_WAS_DONE = (AttemptTimeout, BadChunk, ConnectionLost)
"""Failures after which the provider has read the prompt, and may bill it though it reported nothing."""

ASSUMED_CUT = 0.7
"""A server that reports fewer prompt tokens than this share of our count has cut the prompt (Ollama keeps about half
of num_ctx when it does); our own counts are within 0.5 % for Llama 3 and within a quarter for any tokenizer."""

SMALLEST_CUT = 512
"""Shorter prompts are not suspected: the template's own tokens weigh too much in them."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What an attempt works with."""

    client: LLMClient
    ledger: UsageLedger
    counter: TokenCounter
    calibrator: Calibrator
    clock: Clock
    budgets: Budgets


@dataclass(slots=True)
class Meter:
    """What has passed so far."""

    started: float
    first_content: float | None = None
    characters: int = 0
    """Of the answer's text: what a person would call delivered."""
    usage: Usage = field(default_factory=Usage)
    finish: str | None = None
    texts: list[str] = field(default_factory=list)

    def take(self, batch: list[Chunk], now: float) -> list[Content]:
        """Count the batch; what of it the caller should see."""
        content: list[Content] = []
        for chunk in batch:
            if type(chunk) is TextDelta:
                self.characters += len(chunk.text)
                self.texts.append(chunk.text)
                content.append(chunk)
            elif type(chunk) is ReasoningDelta:
                self.texts.append(chunk.text)
                content.append(chunk)
            elif type(chunk) is ToolCallDelta:
                self.texts.append(chunk.arguments)
                content.append(chunk)
            elif type(chunk) is Finish:
                self.finish = chunk.reason
            elif type(chunk) is Usage:
                self.usage = merge_usage(self.usage, chunk)
        if content and self.first_content is None:
            self.first_content = now
        return content


def merge_usage(old: Usage, new: Usage) -> Usage:
    """Later reports win, number by number: Anthropic tells the input first and the output last."""
    values = {f.name: getattr(new, f.name) for f in fields(Usage)}
    return Usage(**{name: getattr(old, name) if value is None else value for name, value in values.items()})


class Attempt:
    """Iterate `content()`; then call `succeed` or `abandon`, or, after a failure, `close` and one of `fail`, `failing`.

    `reservation`: what its budgets hold for it; it is settled as soon as the cost is known.
    """

    def __init__(self, desk: Desk, plan: Plan, fitted: Fitted, number: int, reservation: Reservation) -> None:
        self._desk = desk
        self._plan = plan
        self.model = fitted.model
        self.window = fitted.window
        self._gap = fitted.gap
        self.number = number
        self.id = uuid.uuid4().hex
        self.meter = Meter(desk.clock.monotonic())
        self._asked = False
        self._reservation = reservation
        self._failed: AttemptEnd | None = None
        desk.ledger.begin(self._start())

    @property
    def committed(self) -> bool:
        """Whether the person has seen any of it: after that nothing may be retried silently."""
        return self.meter.first_content is not None

    async def content(self, limits: Limits, private: bool = False) -> AsyncGenerator[list[Content], None]:
        """Batches of what the caller should see. `private`: it may not leave the machine by now, whatever the route was
        made for. Raises `AttemptError`."""
        self._asked = True
        meter, monotonic = self.meter, self._desk.clock.monotonic
        async with aclosing(self._desk.client.stream(self._call(private), limits)) as batches:
            async for batch in batches:
                if content := meter.take(batch, monotonic()):
                    yield content

    async def succeed(self) -> tuple[AttemptEnd, Outcome]:
        """Settle the row as ok. The row, and where it is: `stored` on disk, or `queued`.

        Whoever leaves while the answer is being counted leaves a cancelled row with what it cost.
        """
        try:
            end = await self._end(Status.OK, None)
        except BaseException:
            self.abandon()
            raise
        self._desk.calibrator.observe(
            self.model.id,
            predicted=self.window.input_tokens,
            reported=self.meter.usage.input_tokens,
            # An image is counted by a constant, and a prompt cut by its server says nothing about the tokenizer.
            suspect=self._plan.facts.has_images or self._was_cut(),
        )
        return end, await self._desk.ledger.settle(self.id, end, self._receipt())

    async def close(self, error: AttemptError) -> None:
        """The attempt has failed: count and price what it used, so that its budgets are free for the next."""
        self._failed = await self._end(Status.ERROR, error)

    async def fail(self) -> None:
        """Settle the row as failed; returns when it is on disk or waits in the ledger's queue."""
        await self._desk.ledger.settle(self.id, self._failure(), self._receipt())

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        """The pause after a failure. A caller who leaves in it leaves a cancelled row, else the row says error."""
        end = self._failure()
        try:
            yield
        except BaseException:
            self._desk.ledger.settle_soon(self.id, replace(end, status=Status.CANCELLED), self._receipt())
            raise
        self._desk.ledger.settle_soon(self.id, end)

    def _failure(self) -> AttemptEnd:
        assert self._failed is not None, "close() comes first"
        return self._failed

    def abandon(self) -> None:
        """The caller has gone: settle as cancelled with what was used, without waiting for anything."""
        if self._failed is not None:  # what it used is known, and is what the budgets were told
            self._desk.ledger.settle_soon(self.id, replace(self._failed, status=Status.CANCELLED), self._receipt())
            return
        output = self._desk.counter.count("".join(self.meter.texts), self.model.tokenizer)
        self._desk.ledger.settle_soon(self.id, self._settled(Status.CANCELLED, None, output), self._receipt())

    def report(self, error: AttemptError | None = None) -> AttemptReport:
        outcome = "error" if error else "ok"
        code, reason = (error.code, error.detail) if error else (None, None)
        return AttemptReport(self.model.id, self.number, outcome, code, reason, self._latency_ms())

    def warnings(self, end: AttemptEnd) -> list[str]:
        """What the person should know about an answer that did arrive."""
        found = list(self.model.warnings)
        if self._was_cut():
            found.append(
                f"the server read {self.meter.usage.input_tokens} prompt tokens of about {self.window.input_tokens}: "
                f"it cut the prompt; "
                f"check that its context length is at least {self.window.window}"
            )
        if end.cost_micro_usd is None:
            found.append(
                f"the price of {self.model.id} is not known, so its cost is not counted; set it in models.yaml"
            )
        if self.meter.finish == "length":
            found.append("the answer reached its token limit and may be incomplete")
        return found

    def _was_cut(self) -> bool:
        """Whether the server's own count shows that it read less than it was sent. What images take is a guess, and
        models that see differ by a factor of ten: only the text must have been read."""
        reported = self.meter.usage.input_tokens
        expected = self.window.input_tokens - image_tokens(self.window.messages)
        if self.model.provider != "ollama" or not reported or expected < SMALLEST_CUT:
            return False
        return reported < expected * ASSUMED_CUT

    def _receipt(self) -> Receipt:
        return build_receipt(self._plan.request.request_id, self._plan.facts, self._plan.route, self.window)

    def _call(self, private: bool) -> ModelCall:
        request, route = self._plan.request, self._plan.route
        return ModelCall(
            model=self.model,
            messages=self.window.messages,
            local_only=route.local_only or private,
            max_output_tokens=self._most_output(),
            temperature=request.temperature,
            stop=request.stop,
            response_format=request.response_format,
            tools=request.tools,
            tool_choice=request.tool_choice,
            sampling=request.sampling,
            gap=self._gap,
            params={**self.model.params, **route.params},
            request_id=request.request_id,
            task_type=request.task_type,
        )

    def _most_output(self) -> int | None:
        """The length to ask for. Where nobody named one, a model on this machine gets what its window has left: most
        servers would otherwise write on past the window and forget the prompt. A cloud has a default of its own; under
        a budget it gets what was reserved, or it could write more than that."""
        if self._plan.wanted_output or self._reservation.capped:
            return self.window.reserved_output
        if not self.model.location.is_local or self.model.provider == "builtin":
            return None
        room = max(self.window.window - self.window.input_tokens, self.window.reserved_output)
        limit = self.model.max_output_tokens.value
        return room if limit is None else min(room, limit)

    def _start(self) -> AttemptStart:
        request = self._plan.request
        return AttemptStart(
            id=self.id,
            request_id=request.request_id,
            attempt=self.number,
            workspace_profile_id=request.workspace,
            session_id=request.session_id,
            agent=request.agent,
            task_type=request.task_type,
            rule=self._plan.route.rule,
            provider=self.model.provider,
            model=self.model.id,
            location=self.model.location.value,
            created_at=self._desk.budgets.begin(self._reservation),
            reserved_micro_usd=self._reservation.quote.most,
            parent=request.parent,
            private=self._plan.route.local_only,
        )

    async def _end(self, status: Status, error: AttemptError | None) -> AttemptEnd:
        output = self.meter.usage.output_tokens
        if output is None:
            (output,) = await self._desk.counter.acount_many(["".join(self.meter.texts)], self.model.tokenizer)
        return self._settled(status, error, output)

    def _settled(self, status: Status, error: AttemptError | None, output: int) -> AttemptEnd:
        meter, usage = self.meter, self.meter.usage
        reported = usage.input_tokens is not None and usage.output_tokens is not None
        if usage.input_tokens is not None:
            prompt = usage.input_tokens
        else:
            # Whoever left while the call waited for its slot has used nothing.
            billed = self._asked and (error is None or self.committed or isinstance(error, WORK_WAS_DONE))
            prompt = self.window.input_tokens if billed else 0
        counts = TokenCounts(
            input_tokens=prompt,
            output_tokens=output,
            cached_input_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        )
        cost = price_attempt(counts, self.model.price.value, reported=reported)
        self._desk.budgets.settle(self._reservation, cost.micro_usd, prompt + output)
        first = meter.first_content
        return AttemptEnd(
            status=status,
            settled_at=self._desk.clock.now(),
            latency_ms=self._latency_ms(),
            input_tokens=prompt,
            cached_input_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=output,
            reasoning_tokens=usage.reasoning_tokens,
            cost_micro_usd=cost.micro_usd,
            cost_source=cost.source,
            time_to_first_token_ms=None if first is None else round((first - meter.started) * 1000),
            error_code=error.code if error else None,
            error_message=error.detail if error else None,
        )

    def _latency_ms(self) -> int:
        return round((self._desk.clock.monotonic() - self.meter.started) * 1000)
