"""ModelRouter: the one door to a model.

stream ── make_plan ── first window that fits ──> [RouteChosen] ── older messages lost? summarise ── [ContextBuilt]
                       (and budgets allow)            │
             ┌────────────────────────────────────────┤
             ▼                                        │
  slot ── one attempt ── content ──> [TextDelta, ...] ──> Done
             │ AttemptError before any content          AttemptError after content ──> Failed
             ▼
        RetryPolicy.decide ── Retry: wait ────────────┘
             ├── NextModel: fit the next candidate ───┘
             └── GiveUp ──> Failed

Everything above the first yield raises `RequestError`; everything below it ends in exactly one `Done` or `Failed`.
Closing the generator, or cancelling the task that iterates it, closes the upstream connection wherever it stands and
leaves a `cancelled` row.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from app.errors import (
    AllCandidatesFailed,
    AnswerError,
    AnswerTimeout,
    AttemptError,
    AttemptTimeout,
    ContextOverflow,
    ContextTooLarge,
    EgressBlocked,
    FailureKind,
    StreamInterrupted,
    Unreachable,
)
from app.llm.attempt import Attempt, Desk
from app.llm.breaker import BreakerBoard, counts
from app.llm.calls import ModelRequest, TextDelta, ToolCallDelta
from app.llm.events import AttemptFailed, AttemptReport, ContextBuilt, Done, Event, Explanation, Failed, RouteChosen
from app.llm.explain import explain_plan
from app.llm.fitting import Fitter
from app.llm.overflow import REBUILDS, next_shrink
from app.llm.plan import Plan, Policy, make_plan
from app.llm.progress import Outcome, Progress, Step
from app.llm.retry import AttemptState, GiveUp, Retry, RetryPolicy
from app.llm.slots import Hold, Slots, place_of
from app.llm.spending import Spending, exceeded, fit_within, leave_out, scope_of, with_fallback
from app.llm.summarizing import Summariser, noted
from app.llm.upgrading import stood_in_for, without_resting, without_upgrade
from app.llm.watchdog import Limits
from app.routing.policy import permitted
from app.routing.route import Candidate
from app.routing.spec import ModelSpec
from app.usage.limits import Refusal


@dataclass(frozen=True, slots=True)
class Completion:
    """A drained answer."""

    text: str
    done: Done
    tool_calls: tuple[ToolCallDelta, ...] = ()


class ModelRouter:
    """Decides, asks, retries, meters. Every feature that wants a model goes through here and through nothing else.

    `policy` returns the set of rules, profiles and models that is current; it is read once per request.
    """

    def __init__(self, policy: Callable[[], Policy], fitter: Fitter, desk: Desk, breakers: BreakerBoard) -> None:
        self._policy = policy
        self._fitter = fitter
        self._desk = desk
        self._clock = desk.clock
        self._budgets = desk.budgets
        self._summariser = Summariser(fitter, desk.counter)
        self.breakers = breakers
        self.slots = Slots()

    async def stream(
        self, request: ModelRequest, *, made_for: Spending | None = None
    ) -> AsyncGenerator[list[Event], None]:
        """Batches of events. Raises `RequestError` before the first one, and nothing after it.

        `made_for`: of the request that waits for this one; what this one costs is part of it.
        """
        started = self._clock.monotonic()
        plan, spending = await self._plan(request, made_for)
        progress = await self._first_fit(plan, spending, started)
        try:
            route = progress.plan.route
            if progress.fitted.lost is None:
                yield [RouteChosen(request.request_id, route), ContextBuilt(progress.fitted.window)]
            else:
                # The route goes out before any model is called, the summariser included.
                yield [RouteChosen(request.request_id, route)]
                yield [await self._built(progress)]
            async with aclosing(self._answer(progress)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            spending.release()

    async def _plan(
        self, request: ModelRequest, made_for: Spending | None = None, *, all_verdicts: bool = False
    ) -> tuple[Plan, Spending]:
        scope = scope_of(request)
        used = self._budgets.used_fraction(scope)
        now = self._clock.now()
        plan = await make_plan(
            request, self._policy(), self._fitter.builder, now, budget_used=used, all_verdicts=all_verdicts
        )
        return plan, Spending(self._budgets, scope, made_for)

    async def complete(self, request: ModelRequest, *, made_for: Spending | None = None) -> Completion:
        """The whole answer. Raises `RequestError` or the `AnswerError` the stream would have ended with."""
        texts: list[str] = []
        calls: list[ToolCallDelta] = []
        async with aclosing(self.stream(request, made_for=made_for)) as batches:
            async for batch in batches:
                for event in batch:
                    if isinstance(event, TextDelta):
                        texts.append(event.text)
                    elif isinstance(event, ToolCallDelta):
                        calls.append(event)
                    elif isinstance(event, Failed):
                        raise event.error
                    elif isinstance(event, Done):
                        return Completion("".join(texts), event, tuple(calls))
        raise AssertionError("a stream ends with Done or Failed")

    async def explain(self, request: ModelRequest) -> Explanation:
        """The same decision and the same fit, and no call. Raises the same `RequestError`s."""
        plan, spending = await self._plan(request, all_verdicts=True)
        return await explain_plan(plan, self._fitter, self.breakers, spending)

    async def _first_fit(self, plan: Plan, spending: Spending, started: float) -> Progress:
        """The first candidate that is awake, whose window holds what may not be trimmed, and whose cost the budgets
        allow; that cost is reserved. The plan says who was skipped or left out."""
        awake = without_resting(plan, self.breakers.resting)
        try:
            return await self._fit_first(awake, spending, started)
        except ContextTooLarge:
            if awake is plan:
                raise
            # What no candidate holds is worth asking an upgrade that rests.
            return await self._fit_first(plan, spending, started)

    async def _fit_first(self, plan: Plan, spending: Spending, started: float) -> Progress:
        resting = {c.model.id: self.breakers.resting(c.model.id) for c in plan.route.candidates}
        awake = [c for c in plan.route.candidates if resting[c.model.id] is None]
        # Where all are resting, resting would only mean failing: then they are asked all the same.
        waiting = awake or list(plan.route.candidates)
        skipped = [f"{model} skipped: {why}" for model, why in resting.items() if why] if awake else []
        refusal: ContextTooLarge | None = None
        refused: Refusal | None = None
        while waiting:
            candidate = waiting.pop(0)
            try:
                plan, fitted, objection = await fit_within(self._fitter, plan, candidate.model, spending.hold)
            except ContextTooLarge as error:
                refusal = refusal or error
                skipped.append(f"{candidate.model.id} skipped: {error.detail}")
                continue
            if objection is None:
                reasons = (*plan.route.reasons, *skipped, *spending.notes)
                return Progress(_told_to(plan, reasons), started, waiting, fitted, spending)
            if objection.on_limit == "block":
                raise exceeded(objection)
            refused = refused or objection
            plan, waiting = leave_out(plan, objection, candidate, waiting)
            if not waiting:
                plan, waiting = with_fallback(plan, objection)
        if refused is not None:
            raise exceeded(refused)
        raise refusal or ContextTooLarge("no candidate's window holds the request")

    async def _built(self, progress: Progress) -> ContextBuilt:
        """The window that is sent next, with a summary where one is worth it. No slot is held meanwhile."""
        plan, fitted, spending = progress.plan, progress.fitted, progress.spending

        async def ask(request: ModelRequest) -> str:
            return (await self.complete(request, made_for=spending)).text

        if fitted.lost is not None:
            model = plan.route.summarizer
            resting = None if model is None else self.breakers.resting(model.id)
            summarised = await self._summariser.fold(plan, fitted, ask, resting)
            # With the summary in it the prompt is longer, and its own cost is spent.
            refusal = spending.hold_instead(summarised.fitted)
            left_out = refusal and noted(fitted, f"older messages were left out: {refusal.reason}")
            progress.fitted = left_out or summarised.fitted
            progress.warnings = (*progress.warnings, *summarised.warnings)
        return ContextBuilt(progress.fitted.window)

    async def _answer(self, progress: Progress) -> AsyncGenerator[list[Event], None]:
        while True:
            reservation = progress.spending.reservation
            assert reservation is not None, "what is asked next was reserved when it was chosen"
            attempt = Attempt(self._desk, progress.plan, progress.fitted, len(progress.attempts) + 1, reservation)
            progress.tries += 1
            self.breakers.starts(attempt.model.id)
            failure: AttemptError | None = None
            try:
                async with self._slot(progress):
                    private = self._private_by_now(progress.plan, attempt.model)
                    async with aclosing(attempt.content(self._limits(progress), private)) as batches:
                        async for batch in batches:
                            yield list(batch)
            except AttemptError as error:
                failure = error
            except TimeoutError:
                failure = Unreachable(f"{attempt.model.id} was busy with others until the time was used up")
            except BaseException:
                self.breakers.abandoned(attempt.model.id)
                attempt.abandon()
                raise
            if failure is None:
                yield [await self._done(progress, attempt)]
                return
            progress.delivered += attempt.meter.characters
            progress.attempts.append(attempt.report(failure))
            try:
                await attempt.close(failure)
                step = await self._after(progress, attempt, failure)
            except BaseException:
                attempt.abandon()
                raise
            if step.final:
                await attempt.fail()
                yield step.events
                return
            async with attempt.failing():
                yield step.events
                if step.wait_seconds:
                    await self._clock.sleep(step.wait_seconds)
            if step.refitted:
                yield [await self._built(progress)]

    def _private_by_now(self, plan: Plan, model: ModelSpec) -> bool:
        """Where the workspace has become private since the plan was made (a pause, a wait for a slot, a summary), what
        has not gone out yet stays here. Raises `EgressBlocked`."""
        private = self._policy().config.is_private(plan.request.workspace)
        if not permitted(model, local_only=private).allowed:
            raise EgressBlocked(f"{model.id} is a cloud model, and the workspace has become private meanwhile")
        return private

    def _slot(self, progress: Progress) -> Hold:
        """The place at its server that the next call takes: for that call alone, and never over a pause."""
        plan = progress.plan
        place = place_of(progress.fitted.model, plan.policy.config.models.providers)
        left = plan.route.total_seconds - self._elapsed(progress)
        request = plan.request
        return self.slots.hold(place, interactive=request.interactive, within=left, told=request.queued)

    def _limits(self, progress: Progress) -> Limits:
        route = progress.plan.route
        left = route.total_seconds - self._elapsed(progress)
        return Limits(route.first_token_seconds, route.idle_seconds, max(left, 0.0))

    def _elapsed(self, progress: Progress) -> float:
        return self._clock.monotonic() - progress.started

    async def _done(self, progress: Progress, attempt: Attempt) -> Done:
        self.breakers.succeeded(attempt.model.id)
        end, where = await attempt.succeed()
        first = attempt.meter.first_content
        return Done(
            request_id=progress.plan.request.request_id,
            model=attempt.model.id,
            location=attempt.model.location.value,
            finish_reason=attempt.meter.finish or "stop",
            input_tokens=end.input_tokens or 0,
            output_tokens=end.output_tokens or 0,
            cost_usd=None if end.cost_micro_usd is None else end.cost_micro_usd / 1_000_000,
            cost_source=end.cost_source.value,
            latency_ms=round(self._elapsed(progress) * 1000),
            time_to_first_token_ms=None if first is None else round((first - progress.started) * 1000),
            attempt_count=attempt.number,
            warnings=(*progress.plan.request.warnings, *progress.warnings, *attempt.warnings(end)),
            ledger=where,
            attempts=(*progress.attempts, attempt.report()),
        )

    async def _after(self, progress: Progress, attempt: Attempt, failure: AttemptError) -> Step:
        if attempt.committed:
            self._verdict(attempt, failure)
            return self._end(progress, _interrupted(failure))
        if isinstance(failure, ContextOverflow) and await self._shrink(progress, failure):
            return Step([self._told(progress, attempt, failure, "retrying", 0.0)], refitted=True)
        config = progress.plan.policy.config.routing.retry
        limit = min(config.max_total_seconds, progress.plan.route.total_seconds)
        back = stood_in_for(progress.plan, progress.fitted)
        waiting = progress.waiting if back is None else [back, *progress.waiting]
        left = [c for c in waiting if self.breakers.resting(c.model.id) is None] or waiting
        state = AttemptState(progress.tries, len(left), self._elapsed(progress))
        backoff = () if progress.plan.request.one_try else config.backoff_seconds
        decision = RetryPolicy(backoff, limit).decide(failure, state, self._clock.chance())
        if isinstance(decision, Retry) and self._affords(progress):
            wait = decision.wait_seconds
            return Step([self._told(progress, attempt, failure, "retrying", wait)], wait)
        self._verdict(attempt, failure)
        if back is not None:
            # The upgrade was a favour: whom it stood in for is asked after all, with another upgrade or what fits.
            progress.waiting = waiting
            progress.plan = without_upgrade(progress.plan, attempt.model.id, "failed", failure.detail)
        # A retry that no budget allows any more makes room for the next model, too.
        if not isinstance(decision, GiveUp) and await self._next(progress):
            return Step([self._told(progress, attempt, failure, "falling_back", 0.0)], refitted=True)
        why = "no budget allows another try" if isinstance(decision, Retry) else decision.reason
        return self._end(progress, self._exhausted(progress, failure, why))

    @staticmethod
    def _affords(progress: Progress) -> bool:
        """Reserve for another try of the same window, where the budgets allow it."""
        refusal = progress.spending.hold(progress.fitted)
        if refusal is not None:
            progress.refused.append(refusal.reason)
        return refusal is None

    def _verdict(self, attempt: Attempt, failure: AttemptError) -> None:
        if counts(failure, attempt.model.location):
            self.breakers.failed(attempt.model.id)
        else:
            self.breakers.abandoned(attempt.model.id)

    async def _next(self, progress: Progress) -> bool:
        """Fit the next candidate that is awake; False where none is left that can hold the request."""
        asleep: list[Candidate] = []
        while progress.waiting or asleep:
            if not progress.waiting:
                progress.waiting, asleep = asleep, []
                candidate = progress.waiting.pop(0)
            else:
                candidate = progress.waiting.pop(0)
                if self.breakers.resting(candidate.model.id) is not None:
                    asleep.append(candidate)
                    continue
            try:
                progress.plan, fitted, objection = await fit_within(
                    self._fitter, progress.plan, candidate.model, progress.spending.hold
                )
            except ContextTooLarge:
                continue
            if objection is not None:
                progress.plan, progress.waiting = leave_out(progress.plan, objection, candidate, progress.waiting)
                progress.refused.append(objection.reason)
                asleep = [c for c in asleep if c in progress.plan.route.candidates]
                continue
            progress.next(fitted)
            progress.waiting = [*progress.waiting, *asleep]
            return True
        return False

    async def _shrink(self, progress: Progress, failure: ContextOverflow) -> bool:
        """Build a smaller window for the same model; False where that was done often enough or gains nothing."""
        if progress.rebuilds >= REBUILDS:
            return False
        old = progress.fitted.window
        shrink = next_shrink(
            failure.detail,
            sent=old.input_tokens,
            window=old.window,
            reserved=old.reserved_output,
            shrink=progress.shrink,
        )
        try:
            fitted = await self._fitter.smaller(progress.plan, progress.fitted, shrink)
        except ContextTooLarge:
            return False
        if fitted.window.input_tokens >= old.input_tokens or progress.spending.hold(fitted) is not None:
            return False
        progress.fitted, progress.shrink, progress.rebuilds = fitted, shrink, progress.rebuilds + 1
        return True

    @staticmethod
    def _told(progress: Progress, attempt: Attempt, failure: AttemptError, outcome: Outcome, wait: float) -> Event:
        return AttemptFailed(attempt.model.id, attempt.number, outcome, failure.code, failure.detail, round(wait, 3))

    def _exhausted(self, progress: Progress, failure: AttemptError, why: str) -> AnswerError:
        if self._elapsed(progress) >= progress.plan.route.total_seconds:
            return AnswerTimeout(f"no answer within {progress.plan.route.total_seconds:g} s: {failure.detail}")
        tried = "; ".join([*(f"{a.model}: {a.reason}" for a in _last_of_each(progress.attempts)), *progress.refused])
        advice = "" if failure.kind is FailureKind.FATAL else " `llm-sidecar doctor` says what each model lacks."
        return AllCandidatesFailed(f"{tried}.{advice}", reason=why, last_code=failure.code)

    @staticmethod
    def _end(progress: Progress, error: AnswerError) -> Step:
        request_id = progress.plan.request.request_id
        return Step([Failed(request_id, error, progress.delivered, tuple(progress.attempts))], final=True)


def _told_to(plan: Plan, reasons: tuple[str, ...]) -> Plan:
    return plan if reasons == plan.route.reasons else replace(plan, route=replace(plan.route, reasons=reasons))


def _interrupted(failure: AttemptError) -> AnswerError:
    """A failure after the commit point: what was delivered stays, and is not the whole answer."""
    if isinstance(failure, AttemptTimeout):
        return AnswerTimeout(f"{failure.detail}; the answer is incomplete", last_code=failure.code)
    return StreamInterrupted(f"{failure.detail}; the answer is incomplete", last_code=failure.code)


def _last_of_each(attempts: list[AttemptReport]) -> list[AttemptReport]:
    return list({attempt.model: attempt for attempt in attempts}.values())
