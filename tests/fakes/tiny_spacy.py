"""A pipeline of spaCy's that a test makes itself: rules over a blank English one, on disk, or as an installed model."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

needs_spacy = pytest.mark.skipif(
    find_spec("spacy") is None,
    reason="spaCy is not installed: its 200 MB are no part of the locked environment "
    "(`uv pip install --python .venv/bin/python 'spacy>=3.8,<4'`)",
)

PATTERNS: Final[list[dict[str, Any]]] = [
    {"label": "PERSON", "pattern": [{"LOWER": "ada"}, {"IS_SPACE": True, "OP": "?"}, {"LOWER": "lovelace"}]},
    {"label": "ORG", "pattern": "Analytical Engines"},
    {"label": "GPE", "pattern": "Turin"},
    {"label": "DATE", "pattern": "1843"},
    {"label": "PERSON", "pattern": "Q"},
    {"label": "WORK_OF_ART", "pattern": [{"TEXT": {"REGEX": "^sketch[0-9]+$"}}]},
]


def write(folder: Path) -> Path:
    """The pipeline as spaCy saves one."""
    pipeline = import_module("spacy").blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns(PATTERNS)
    folder.parent.mkdir(parents=True, exist_ok=True)
    pipeline.to_disk(folder)
    return folder


def install(site: Path, *names: str) -> None:
    """Packages as `spacy download` would put them into `site`, a folder of `sys.path`."""
    for name in names:
        write(site / name / "data")
        (site / name / "__init__.py").write_text(
            "from pathlib import Path\n\nfrom spacy.util import load_model_from_path\n\n\n"
            "def load(**overrides):\n"
            "    return load_model_from_path(Path(__file__).parent / 'data', **overrides)\n"
        )
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[spacy_models]\n{name} = {name}\n")
