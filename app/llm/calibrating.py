"""The tokenizer's error per model, learned from what providers report, kept in a file over restarts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from app.context.calibration import Calibration

log = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
"""The least time between two writes of the file: what a crash can cost is half a minute of learning."""


class Calibrator:
    """Holds the current `Calibration`. A file that cannot be read or written costs accuracy and nothing else."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._current = Calibration.from_json(_read(path))
        self._saved = self._current
        self._saved_at = monotonic()

    def factor(self, model_id: str) -> float:
        return self._current.factor(model_id)

    def observe(self, model_id: str, *, predicted: int, reported: int | None, suspect: bool) -> None:
        """One answered call: our count of the prompt beside the provider's."""
        self._current = self._current.observed(model_id, predicted=predicted, reported=reported, suspect=suspect)
        if self._current is not self._saved and self._monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the file where something has changed: a few kilobytes, by temporary file and rename."""
        self._saved_at = self._monotonic()
        if self._current is self._saved:
            return
        beside = self._path.with_suffix(".new")
        try:
            beside.write_text(json.dumps(self._current.to_json()), encoding="utf-8")
            os.replace(beside, self._path)
        except OSError as error:
            log.warning("token calibration could not be saved: %s", error.strerror or error)
            return
        self._saved = self._current


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
