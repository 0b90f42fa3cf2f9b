"""A candidate and the window built for it: truncate, or upgrade to a larger permitted model where that loses much."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.context.blocks import ContextWindow
from app.context.builder import ContextBuilder
from app.context.upgrade import UpgradeOption, choose_upgrade
from app.errors import ContextTooLarge
from app.llm.calibrating import Calibrator
from app.llm.plan import Plan
from app.routing.route import Origin
from app.routing.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model and the window built for it."""

    model: ModelSpec
    window: ContextWindow


@dataclass(frozen=True, slots=True)
class Fitter:
    """Fits plans to models, with each model's measured tokens in place of the tokenizer's prior."""

    builder: ContextBuilder
    calibrator: Calibrator

    async def fit(self, plan: Plan, model: ModelSpec, shrink: float = 1.0) -> Fitted:
        """`model` with its window, or a larger permitted model where content of priority 2 would be lost.

        `shrink` below 1 is for a provider that called the prompt too long: it is no reason for an upgrade. Raises
        `ContextTooLarge` where not even what may never be trimmed fits, neither here nor in any upgrade.
        """
        problem: ContextTooLarge | None = None
        window: ContextWindow | None = None
        try:
            window = await self._window(plan, model, shrink)
            if shrink < 1.0 or not window.loses_priority_2:
                return Fitted(model, window)
        except ContextTooLarge as error:
            problem = error
            if shrink < 1.0:
                raise
        upgraded, notes = await self._upgrade(plan, model, window)
        if upgraded is not None:
            return upgraded
        if window is None:
            assert problem is not None
            raise problem
        return Fitted(model, replace(window, notes=(*window.notes, *notes)))

    async def _window(self, plan: Plan, model: ModelSpec, shrink: float = 1.0) -> ContextWindow:
        return await self.builder.fit(
            plan.prepared,
            model_id=model.id,
            window=model.context_window.value,
            max_output_tokens=model.max_output_tokens.value,
            wanted_output=plan.wanted_output,
            tokenizer=model.tokenizer,
            factor=self.calibrator.factor(model.id),
            shrink=shrink,
        )

    async def _upgrade(
        self, plan: Plan, model: ModelSpec, window: ContextWindow | None
    ) -> tuple[Fitted | None, tuple[str, ...]]:
        """The upgrade with its window, and why others were not taken. The policy has filtered `route.upgrades`."""
        larger = {m.id: m for m in plan.route.upgrades if m.context_window.value > model.context_window.value}
        options = [self._option(m) for m in larger.values()]
        choice = await choose_upgrade(plan.prepared, window, options, wanted_output=plan.wanted_output)
        notes = (*choice.notes, *_denied(plan))
        if choice.option is None:
            return None, notes
        chosen = larger[choice.option.model_id]
        try:
            fitted = await self._window(plan, chosen)
        except ContextTooLarge as error:
            return None, (*notes, f"not upgraded to {chosen.id}: {error.detail}")
        notes = (*fitted.notes, *notes)
        return Fitted(chosen, replace(fitted, upgraded_from=model.id, notes=notes)), notes

    def _option(self, model: ModelSpec) -> UpgradeOption:
        return UpgradeOption(
            model.id,
            model.context_window.value,
            model.max_output_tokens.value,
            model.tokenizer,
            self.calibrator.factor(model.id),
            denied="its server does not have it" if model.available is False else None,
        )


def _denied(plan: Plan) -> tuple[str, ...]:
    return tuple(f"not upgraded to {r.model}: {r.reason}" for r in plan.route.removed if r.origin is Origin.UPGRADE)
