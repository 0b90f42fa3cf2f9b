"""What is wrong with a folder of configuration, as `load` says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.config.loader import Check, load
from app.errors import ConfigError, ConfigProblem


def problems_of(path: Path, checks: Sequence[Check] = ()) -> list[ConfigProblem]:
    """In file and line order; empty where it can be loaded."""
    try:
        load(path, checks)
    except ConfigError as error:
        return list(error.problems)
    return []
