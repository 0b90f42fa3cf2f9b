"""A candidate and the window built for it: truncate (strategy 1), or upgrade to a larger permitted model where that
loses much (strategy 2); and which older messages a summary could stand for where both have left some out (strategy 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.context.blocks import BlockOutcome, ContextWindow, Kind, Outcome, Priority
from app.context.builder import ContextBuilder, Prepared, output_reserve
from app.context.gap import Gap
from app.context.summary import IN_THE_SUMMARY, SUMMARY_TOKENS, SummaryPlan, older_blocks, plan_summary
from app.context.upgrade import UpgradeOption, choose_upgrade, needs_upgrade
from app.errors import ContextTooLarge
from app.llm.calibrating import Calibrator
from app.llm.plan import Plan
from app.routing.route import Origin
from app.routing.spec import ModelSpec

_DROPPED, _HISTORY, _TRIM_FIRST = Outcome.DROPPED, Kind.HISTORY.value, int(Priority.TRIM_FIRST)
"""Found once: Python 3.11 takes 0.2 µs to find an enum's member, and they are asked for hundreds of blocks."""
SMALLEST_LOSS = SUMMARY_TOKENS
"""Older messages of fewer tokens are left out without a summary: it would take as much room as they do."""
SUMMARY_ROOM = 2 * SUMMARY_TOKENS
"""Tokens a summary takes with the facts carried into it: what it pushes out must be in it, too."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model and the window built for it out of `prepared`."""

    model: ModelSpec
    window: ContextWindow
    prepared: Prepared
    lost: SummaryPlan | None = None
    """Older messages that were left out and are worth a summary."""
    gap: Gap | None = None
    """Of an inline completion: what of it fits."""


@dataclass(frozen=True, slots=True)
class Fitter:
    """Fits plans to models, with each model's measured tokens in place of the tokenizer's prior."""

    builder: ContextBuilder
    calibrator: Calibrator

    async def fit(self, plan: Plan, model: ModelSpec) -> Fitted:
        """`model` with its window, or a larger permitted model where content of priority 2 would be lost.

        A request for a summary is only truncated. Raises `ContextTooLarge` where not even what may never be trimmed
        fits, neither here nor in any upgrade.
        """
        if plan.request.gap is not None:
            return await self._around(plan, model, plan.request.gap)
        problem: ContextTooLarge | None = None
        window: ContextWindow | None = None
        try:
            window = await self._window(plan, plan.prepared, model)
            if plan.only_truncates:
                return Fitted(model, window, plan.prepared)
            if not needs_upgrade(window, plan.policy.config.routing.context.upgrade_threshold):
                return await self._with_loss(plan, Fitted(model, window, plan.prepared))
        except ContextTooLarge as error:
            if plan.only_truncates:
                raise
            problem = error
        upgraded, notes = await self._upgrade(plan, model, window)
        if upgraded is not None:
            return await self._with_loss(plan, upgraded)
        if window is None:
            assert problem is not None
            raise problem
        window = replace(window, notes=(*window.notes, *notes))
        return await self._with_loss(plan, Fitted(model, window, plan.prepared))

    async def smaller(self, plan: Plan, fitted: Fitted, shrink: float) -> Fitted:
        """The same material in `shrink` of the room, after the provider called the prompt too long: no upgrade and no
        summary, which would be another model's help. Raises `ContextTooLarge`."""
        if fitted.gap is not None:
            return await self._around(plan, fitted.model, fitted.gap, shrink)
        window = await self._window(plan, fitted.prepared, fitted.model, shrink)
        old = fitted.window
        return replace(fitted, window=replace(window, upgraded_from=old.upgraded_from, notes=old.notes), lost=None)

    async def again(self, plan: Plan, fitted: Fitted, prepared: Prepared) -> Fitted:
        """Fit `prepared`, in which a summary stands for some of the messages, to the same model."""
        window = await self._window(plan, prepared, fitted.model)
        old = fitted.window
        window = replace(window, upgraded_from=old.upgraded_from, notes=old.notes)
        return await self._with_loss(plan, Fitted(fitted.model, window, prepared))

    async def _around(self, plan: Plan, model: ModelSpec, gap: Gap, shrink: float = 1.0) -> Fitted:
        """A gap's nearest text: an inline completion is worth no upgrade and no summary, only what fits at once."""
        window = model.context_window.value
        reserved = output_reserve(window, model.max_output_tokens.value, plan.wanted_output)
        factor = self.calibrator.factor(model.id)
        room = int((window - reserved) * shrink / factor)
        offered = gap.characters
        while (tokens := await self._asked(gap, model)) > room and gap.characters:
            gap = gap.nearest(int(gap.characters * min(room / tokens, 0.95)))
        if tokens > room:
            raise ContextTooLarge(f"{model.id}: a window of {window} tokens leaves no room for a completion")
        cut = gap.characters < offered
        reason = "the text nearest to the cursor" if cut else "the text around the cursor"
        block = BlockOutcome(
            "gap", "gap", Priority.TRIM_LAST, int(tokens * factor), Outcome.SHORTENED if cut else Outcome.KEPT, reason
        )
        built = ContextWindow(model.id, window, int(tokens * factor), reserved, gap.messages(), (block,))
        return Fitted(model, built, plan.prepared, gap=gap)

    async def _asked(self, gap: Gap, model: ModelSpec) -> int:
        counter = self.builder.counter
        messages = gap.messages()
        return await counter.run(
            lambda: counter.messages_tokens(messages, model.tokenizer), gap.characters, model.tokenizer
        )

    async def _window(self, plan: Plan, prepared: Prepared, model: ModelSpec, shrink: float = 1.0) -> ContextWindow:
        window = await self.builder.fit(
            prepared,
            model_id=model.id,
            window=model.context_window.value,
            max_output_tokens=model.max_output_tokens.value,
            wanted_output=plan.wanted_output,
            tokenizer=model.tokenizer,
            factor=self.calibrator.factor(model.id),
            shrink=shrink,
        )
        return _with_covered(prepared, window) if prepared.material.summarised else window

    async def _with_loss(self, plan: Plan, fitted: Fitted) -> Fitted:
        """With the older messages that were left out, where they are worth a summary and there is room for one.

        What the summary itself would push out is planned into it: the window is fitted once more without that room.
        """
        if not any(_is_lost(block) for block in fitted.window.blocks):
            return fitted
        prepared, model = fitted.prepared, fitted.model
        lost = {block.id for block in older_blocks(prepared)} & {b.id for b in fitted.window.blocks if _is_lost(b)}
        planned = await plan_summary(prepared, model.tokenizer, lost)
        if planned is None or planned.tokens < SMALLEST_LOSS:
            return fitted
        room = fitted.window.window - fitted.window.reserved_output
        try:
            tighter = await self._window(plan, prepared, model, max(0.0, 1 - SUMMARY_ROOM / room))
        except ContextTooLarge:
            return fitted  # what may never be trimmed leaves no room for a summary
        lost |= {block.id for block in tighter.blocks if _is_lost(block)}
        return replace(fitted, lost=await plan_summary(prepared, model.tokenizer, lost))

    async def _upgrade(
        self, plan: Plan, model: ModelSpec, window: ContextWindow | None
    ) -> tuple[Fitted | None, tuple[str, ...]]:
        """The upgrade with its window, and why others were not taken. The policy has filtered `route.upgrades`."""
        larger = {m.id: m for m in plan.route.upgrades if m.context_window.value > model.context_window.value}
        options = [self._option(m) for m in larger.values()]
        threshold = plan.policy.config.routing.context.upgrade_threshold
        choice = await choose_upgrade(
            plan.prepared, window, options, wanted_output=plan.wanted_output, threshold=threshold
        )
        notes = (*choice.notes, *_denied(plan))
        if choice.option is None:
            return None, notes
        chosen = larger[choice.option.model_id]
        try:
            fitted = await self._window(plan, plan.prepared, chosen)
        except ContextTooLarge as error:
            return None, (*notes, f"not upgraded to {chosen.id}: {error.detail}")
        notes = (*fitted.notes, *notes)
        return Fitted(chosen, replace(fitted, upgraded_from=model.id, notes=notes), plan.prepared), notes

    def _option(self, model: ModelSpec) -> UpgradeOption:
        return UpgradeOption(
            model.id,
            model.context_window.value,
            model.max_output_tokens.value,
            model.tokenizer,
            self.calibrator.factor(model.id),
            listed=model.available is not False,
        )


def _denied(plan: Plan) -> tuple[str, ...]:
    return tuple(f"not upgraded to {r.model}: {r.reason}" for r in plan.route.removed if r.origin is Origin.UPGRADE)


def _is_lost(block: BlockOutcome) -> bool:
    return block.outcome is _DROPPED and block.kind == _HISTORY and block.priority == _TRIM_FIRST


def _with_covered(prepared: Prepared, window: ContextWindow) -> ContextWindow:
    """Messages that were left out count as summarised where the summary that covers them is in the window."""
    if not any(b.kind == Kind.SUMMARY and b.outcome is not Outcome.DROPPED for b in window.blocks):
        return window
    open_ids, summarised = {block.id for block in older_blocks(prepared)}, Outcome.SUMMARISED
    return replace(
        window,
        blocks=tuple(
            [
                BlockOutcome(block.id, block.kind, block.priority, block.tokens, summarised, IN_THE_SUMMARY)
                if _is_lost(block) and block.id not in open_ids
                else block
                for block in window.blocks
            ]
        ),
    )
