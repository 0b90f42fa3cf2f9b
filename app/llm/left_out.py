"""Importing litellm without the half of it that makes calls: 50 MB in place of 118, and less than half of the time.

litellm's `__init__` imports its router, its endpoints for images, batches, files, …, every logger it can report to, and
the SDKs behind them. Translating needs the provider classes alone. So while it is imported, the modules of `LEFT_OUT`
are stood in for by empty ones, and what is imported from those by classes that cannot be made. Afterwards the stand-ins
are gone: whoever imports one of these modules later gets the real one, and pays for it then. What litellm would have
taken over from them (`litellm.completion`, …) it lacks: asking for it is an AttributeError.

Tied to the version that is pinned, as `translate` is: `tests/unit/test_left_out.py` asks every provider's translation
of the same calls with and without this, and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.resources.abc import ResourceReader
from io import BytesIO
from types import ModuleType
from typing import Any, BinaryIO, Final

LEFT_OUT: Final = frozenset({
    # litellm's own calls
    "litellm.anthropic_interface", "litellm.assistants.main", "litellm.batch_completion.main", "litellm.batches.main",
    "litellm.chat_completions.dispatch", "litellm.containers", "litellm.decisions.main", "litellm.embeddings.dispatch",
    "litellm.evals.main", "litellm.files.main", "litellm.fine_tuning.main", "litellm.google_genai",
    "litellm.images.main", "litellm.interactions", "litellm.main", "litellm.messages.dispatch", "litellm.ocr.dispatch",
    "litellm.passthrough", "litellm.rag", "litellm.realtime_api.main", "litellm.rerank_api.main",
    "litellm.responses.dispatch", "litellm.responses.main", "litellm.router", "litellm.sandbox.main",
    "litellm.scheduler", "litellm.search.main", "litellm.skills.main", "litellm.systemone.main", "litellm.tool_loop",
    "litellm.vector_store_files.main", "litellm.vector_stores", "litellm.videos.main",
    # budgets of its own, and logging to other services
    "litellm.budget_manager", "litellm.compression", "litellm.litellm_core_utils.litellm_logging",
    # the SDK's assistants and betas, and httpx's command line (rich, pygments, click)
    "httpx._main", "openai.lib.streaming._assistants", "openai.types.beta",
    # Claude's old vocabulary: read as JSON by every import, and kept twice
    "litellm.litellm_core_utils.tokenizers",
})  # fmt: skip
"""With all their submodules."""


@contextmanager
def left_out(names: Iterable[str]) -> Generator[None]:
    """Within, an import of a module of `names`, or below one, that is not imported yet gives an empty stand-in.

    Other threads see the same stand-ins meanwhile: name only modules that nobody else imports.
    """
    finder = _StandIns(frozenset(names))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for module in finder.made:
            _forget(module)


def _forget(module: ModuleType) -> None:
    sys.modules.pop(module.__name__, None)
    parent, _, name = module.__name__.rpartition(".")
    holder = sys.modules.get(parent)
    if holder is not None and vars(holder).get(name) is module:
        delattr(holder, name)


class _Empty(ModuleType):
    """`from it import name` gives a class that cannot be made, `from it import *` nothing."""

    __all__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        whole = {"__module__": self.__name__, "__new__": _refuse, "__class_getitem__": classmethod(_itself)}
        return type(name, (), whole)


def _itself(cls: type, _: object) -> type:
    return cls


def _refuse(cls: type, *_: object, **__: object) -> Any:
    raise RuntimeError(f"{cls.__module__}.{cls.__name__} was left out when litellm was imported")


class _StandIns(MetaPathFinder, Loader):
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.made: list[ModuleType] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parts = fullname.split(".")
        if self._names.isdisjoint(".".join(parts[:end]) for end in range(1, len(parts) + 1)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self.made.append(module := _Empty(spec.name))
        return module

    def exec_module(self, module: ModuleType) -> None:
        pass

    def get_resource_reader(self, fullname: str) -> ResourceReader:
        return _EmptyObjects()


class _EmptyObjects(ResourceReader):
    """Whatever file of the package is asked for, it holds `{}`."""

    def open_resource(self, resource: str) -> BinaryIO:
        return BytesIO(b"{}")

    def resource_path(self, resource: str) -> str:
        raise FileNotFoundError(resource)

    def is_resource(self, path: str) -> bool:
        return True

    def contents(self) -> Iterator[str]:
        return iter(())
