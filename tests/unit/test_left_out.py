"""litellm without the modules that make calls translates as the whole of it does."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import pytest

from app.llm.left_out import LEFT_OUT, left_out

PROVIDERS = 80
"""litellm 1.106.2 translates for so many; much fewer would mean that what is compared are refusals."""


def translations(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.unit.translations", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return dict(json.loads(found.stdout))


def below(module: str, names: frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_every_providers_translation_is_the_same_without_what_is_left_out() -> None:
    with ThreadPoolExecutor() as pool:
        whole, usual = pool.map(translations, ("whole", "usual"))

    for what, asked in whole["translations"].items():
        assert usual["translations"].get(what) == asked, what
    translated = {what.split("/")[0] for what, asked in whole["translations"].items() if len(asked) == 3}
    assert len(translated) >= PROVIDERS

    # Each name is one that litellm would have imported, and none was imported after all, whichever provider was asked.
    assert LEFT_OUT - set(whole["modules"]) == set()
    # Nor was its server, which the frozen program does not even hold.
    never = LEFT_OUT | {"litellm.proxy"}
    assert [module for module in usual["modules"] if below(module, never)] == []


def test_what_was_left_out_is_the_real_thing_when_it_is_imported_later() -> None:
    code = (
        "from app.llm.translate import Translator; translator = Translator(str); translator.load()\n"
        "assert translator.ready, translator.problem\n"
        "from litellm.main import stream_chunk_builder\n"
        "from openai.types.beta import Assistant; from httpx import _main\n"
        "print(stream_chunk_builder.__name__, Assistant.__name__, _main.main.name)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.split() == ["stream_chunk_builder", "Assistant", "main"]


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
