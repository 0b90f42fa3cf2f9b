"""Calibration: what providers report, turned into one factor per model on top of the tokenizer's prior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

LOWEST, HIGHEST = 0.7, 2.0
"""A factor never leaves these: beyond them the tokenizer's name is wrong, which a person should mend."""
SMALLEST_SAMPLE = 200
"""Predicted tokens; below it the chat template's own tokens decide the ratio."""
SUSPECT_LOW, SUSPECT_HIGH = 0.5, 2.0
"""Reported over predicted: outside, the server cut the prompt, counted its cache apart, or added tools of its own."""
STEP_DOWN, STEP_UP = 0.02, 0.10
"""Most a factor moves in one step. Up is quicker: an overflow costs a request, a token too many costs a token."""
WEIGHT = 0.3
"""How much of a sample's deviation is taken over before the step is bounded."""
MODELS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Calibration:
    """Factors by model id. A value: `observed` gives the next one; keeping it over a restart is the caller's part."""

    factors: Mapping[str, float] = field(default_factory=dict)

    def factor(self, model_id: str) -> float:
        """What to multiply the counter's answer with; 1.0 for a model never observed."""
        return self.factors.get(model_id, 1.0)

    def observed(self, model_id: str, *, predicted: int, reported: int | None, suspect: bool = False) -> Calibration:
        """With one answered call taken into account.

        `predicted` is the window's `input_tokens`, the factor in force included; `reported` the provider's, cached
        tokens included. `suspect` is the caller's doubt (images, a prompt the server may have cut). Refused samples
        give the same value back.
        """
        if suspect or reported is None or predicted < SMALLEST_SAMPLE:
            return self
        ratio = reported / predicted
        if not SUSPECT_LOW <= ratio <= SUSPECT_HIGH:
            return self
        step = min(max(WEIGHT * (ratio - 1), -STEP_DOWN), STEP_UP)
        moved = min(max(self.factor(model_id) * (1 + step), LOWEST), HIGHEST)
        others = {model: factor for model, factor in self.factors.items() if model != model_id}
        while len(others) >= MODELS_KEPT:
            del others[next(iter(others))]
        return replace(self, factors={**others, model_id: moved})

    def to_json(self) -> dict[str, float]:
        """A JSON object: model id to factor."""
        return {model: round(factor, 6) for model, factor in self.factors.items()}

    @classmethod
    def from_json(cls, value: object) -> Calibration:
        """From `to_json`'s object; entries that cannot be factors are left out: a damaged file harms nothing."""
        if not isinstance(value, Mapping):
            return cls()
        known = {
            str(model): min(max(float(factor), LOWEST), HIGHEST)
            for model, factor in value.items()
            if isinstance(factor, int | float) and not isinstance(factor, bool) and math.isfinite(factor)
        }
        return cls(dict(list(known.items())[:MODELS_KEPT]))
