"""Names of people, organisations, places by spaCy, where the extra `ner` and one of its models are installed.

Detected, never required: without it a local model or the patterns of `app.memory.mentions` find names. What is
installed is read off the packages' metadata, so that nobody pays for importing spaCy (about a second) to be told that
it is not there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Final, Protocol

from app.memory.entities import NewEntity

MAX_CHARACTERS: Final = 20_000
MAX_NAMES: Final = 200
REMEDY: Final = "pip install 'llm-sidecar[ner]', then `python -m spacy download en_core_web_sm`"
KINDS: Final = {
    "PERSON": "person",
    "PER": "person",
    "ORG": "organisation",
    "NORP": "group",
    "GPE": "place",
    "LOC": "place",
    "FAC": "place",
    "PRODUCT": "product",
    "EVENT": "event",
    "WORK_OF_ART": "work",
    "LAW": "law",
    "LANGUAGE": "language",
}
"""spaCy's labels (OntoNotes 5, WikiNER) that name something; dates and amounts do not."""


class Recogniser(Protocol):
    """Finds names in a text on this machine."""

    @property
    def problem(self) -> str | None:
        """Why it finds nothing, as a sentence; None where it works."""
        ...

    @property
    def model(self) -> str | None:
        """What it works with."""
        ...

    async def names(self, text: str) -> Sequence[NewEntity]: ...


class SpacyRecogniser:
    """`name` picks one of the installed models; else the first English one, else the first."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._pipeline: Any = None
        self._failure: str | None = None
        self._loading = threading.Lock()

    @property
    def model(self) -> str | None:
        if find_spec("spacy") is None:
            return None
        if self._name is not None:
            return self._name
        found = sorted(
            {point.name for point in entry_points(group="spacy_models")}, key=lambda n: (not n.startswith("en"), n)
        )
        return found[0] if found else None

    @property
    def problem(self) -> str | None:
        if find_spec("spacy") is None:
            return "spaCy is not installed"
        if self.model is None:
            return "spaCy has no model installed"
        return self._failure

    async def names(self, text: str) -> Sequence[NewEntity]:
        """Nothing where it cannot be used; never raises. On a thread: about 10 ms per thousand characters."""
        if self.problem is not None or not text.strip():
            return ()
        return await asyncio.to_thread(self._names, text[:MAX_CHARACTERS])

    def _names(self, text: str) -> Sequence[NewEntity]:
        pipeline = self._loaded()
        if pipeline is None:
            return ()
        found = [
            NewEntity(" ".join(span.text.split()), kind)
            for span in pipeline(text).ents
            if (kind := KINDS.get(span.label_)) is not None and 2 <= len(span.text) <= 100
        ]
        return tuple(dict.fromkeys(found))[:MAX_NAMES]

    def _loaded(self) -> Any:
        with self._loading:
            if self._pipeline is None and self._failure is None:
                try:
                    self._pipeline = import_module("spacy").load(self.model or "")
                except Exception as error:  # a model of another version, a library missing: whatever it is, no names
                    self._failure = f"spaCy's model {self.model} cannot be loaded: {type(error).__name__}"
            return self._pipeline
