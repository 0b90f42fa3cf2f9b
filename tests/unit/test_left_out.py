"""litellm without the modules that make calls translates as the whole of it does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from importlib.resources import files
from types import ModuleType
from typing import Any

import pytest

from app.llm.left_out import LEFT_OUT, complete, left_out

PROVIDERS = 100
"""litellm 1.106.2 chats with more; fewer would mean that most of what is compared are refusals."""


def translations(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.unit.translations", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return dict(json.loads(found.stdout))


def below(module: str, names: frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_every_providers_translation_is_the_same_without_what_is_left_out() -> None:
    results: dict[str, dict[str, Any]] = {}
    threads = [
        threading.Thread(target=lambda how=how: results.update({how: translations(how)})) for how in ("whole", "usual")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole, usual = results["whole"], results["usual"]

    for what, asked in whole["translations"].items():
        assert usual["translations"].get(what) == asked, what
    translated = {what.split("/")[0] for what, asked in whole["translations"].items() if len(asked) == 3}
    assert len(translated) >= PROVIDERS * 3 / 4

    # Each name is one that litellm would have imported, and none was imported after all, whichever provider was asked.
    assert {name for name in LEFT_OUT if not below(name, frozenset(whole["modules"]))} == set()
    assert [module for module in usual["modules"] if below(module, LEFT_OUT)] == []


def test_what_was_left_out_is_the_real_thing_when_it_is_imported_later() -> None:
    code = (
        "from app.llm.translate import Translator; translator = Translator(str); translator.load()\n"
        "assert translator.ready, translator.problem\n"
        "from litellm.main import stream_chunk_builder; from litellm.router import Router\n"
        "from openai.types.beta import Assistant; from httpx import _main\n"
        "print(stream_chunk_builder.__name__, Router.__init__.__name__, Assistant.__name__, _main.main.name)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.split() == ["stream_chunk_builder", "__init__", "Assistant", "main"]


def test_stand_ins_give_names_that_cannot_be_used_and_then_go() -> None:
    assert not {"xmlrpc", "xmlrpc.client"} & sys.modules.keys()
    with left_out({"xmlrpc"}):
        from xmlrpc.client import ServerProxy, dumps

        assert files("xmlrpc").joinpath("names.json").read_text() == "{}"
    with pytest.raises(RuntimeError, match=r"xmlrpc\.client\.dumps was left out"):
        dumps(())
    assert ServerProxy[int] is ServerProxy, "it may stand in an annotation"  # type: ignore[misc]

    from xmlrpc.client import dumps as real

    assert real(()).startswith("<params>")


def test_what_a_package_lacks_is_imported_when_it_is_asked_for() -> None:
    package = ModuleType("package")
    vars(package)["__getattr__"] = lambda name: 1 if name == "own" else missing(name)
    complete(package, ("colorsys", "this_is_not_there", "sched"))
    assert package.own == 1
    assert package.scheduler.__module__ == "sched"
    with pytest.raises(ModuleNotFoundError):
        _ = package.rgb_to_hsv
    with pytest.raises(AttributeError, match="_private"):
        _ = package._private


def missing(name: str) -> None:
    raise AttributeError(name)
