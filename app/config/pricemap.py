"""litellm's bundled knowledge of models and providers, read as the plain JSON it is.

litellm ships three data files. Reading them takes some 20 ms; importing litellm takes 1.7 s, so nothing here does.
Where a file is missing or has changed its shape the answers get poorer and nothing fails: the names a person wrote are
then taken on trust if they carry a provider prefix this module lists itself.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import orjson

OWN_PROVIDERS = frozenset({"builtin", "embedded"})
"""Answered inside this program; litellm has never heard of them."""
BUILTIN_MODELS = frozenset({"builtin/extractive"})

_BASIC_PROVIDERS = frozenset({
    "anthropic", "deepseek", "gemini", "groq", "hosted_vllm", "llamafile", "lm_studio", "mistral", "ollama",
    "ollama_chat", "openai", "openrouter", "together_ai", "vllm", "xai",
})  # fmt: skip
"""Known whatever the data files say."""
_TEXT_MODES = frozenset({None, "chat", "completion", "responses"})
"""The map's modes that answer in text; the rest embed, draw, transcribe."""
_KEPT = (
    "litellm_provider", "mode", "max_input_tokens", "max_output_tokens",
    "input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "cache_creation_input_token_cost",
    "output_cost_per_reasoning_token",
    "supports_vision", "supports_function_calling", "supports_response_schema",
)  # fmt: skip
"""What the catalog reads of an entry. The rest would stay in memory for as long as the program runs."""
_NOT_MODELS = frozenset({"sample_spec", "fallback_generalizations"})


class KnownModels(Protocol):
    """What the loader asks about names it finds in the configuration."""

    def knows_model(self, model_id: str) -> bool:
        """True for a bare name whose provider is known without a prefix."""

    def knows_provider(self, name: str) -> bool:
        """True for a prefix that can stand before the slash of a model id."""

    def similar(self, name: str, configured: Iterable[str] = ()) -> str | None:
        """The known model id or provider closest to a misspelt one; `configured` ids are preferred."""


class BundledModels:
    """`KnownModels` of the installed litellm."""

    def knows_model(self, model_id: str) -> bool:
        entry = load_price_map().get(model_id)
        return entry is not None and entry.get("mode") in _TEXT_MODES

    def knows_provider(self, name: str) -> bool:
        return name in known_providers()

    def similar(self, name: str, configured: Iterable[str] = ()) -> str | None:
        prefix, slash, rest = name.partition("/")
        if slash and not self.knows_provider(prefix):
            close = difflib.get_close_matches(prefix, sorted(known_providers()), 1, 0.7)
            return f"{close[0]}/{rest}" if close else None
        close = difflib.get_close_matches(name, sorted(configured), 1, 0.75)
        if not close and not slash:
            close = difflib.get_close_matches(name, _bare_names(), 1, 0.75)
        return close[0] if close else None


def litellm_folder() -> Path | None:
    """Where litellm is installed, found without importing it. None: it is not installed."""
    spec = importlib.util.find_spec("litellm")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


@cache
def load_price_map() -> Mapping[str, Mapping[str, Any]]:
    """litellm's bundled map: model name to its entry, of which the keys in `_KEPT`; prices in US dollars per token,
    windows in tokens. Empty where the file is missing or unreadable. Read once per process (3 MB, 20 ms).
    """
    entries = _read_json("model_prices_and_context_window_backup.json")
    return MappingProxyType(
        {
            name: {key: entry[key] for key in _KEPT if key in entry}
            for name, entry in entries.items()
            if name not in _NOT_MODELS and isinstance(entry, dict)
        }
    )


@cache
def known_providers() -> frozenset[str]:
    """Every prefix that may stand before the slash of a model id, this program's own included."""
    support = _read_json("provider_endpoints_support_backup.json").get("providers")
    documented = {name.partition("/")[0] for name in support} if isinstance(support, dict) else set()
    openai_like = set(_read_json("llms", "openai_like", "providers.json"))
    priced = {
        str(entry["litellm_provider"])
        for entry in load_price_map().values()
        if entry.get("mode") in _TEXT_MODES and entry.get("litellm_provider")
    }
    return frozenset(documented | openai_like | priced | _BASIC_PROVIDERS | OWN_PROVIDERS)


@cache
def _bare_names() -> tuple[str, ...]:
    """Model names that need no prefix."""
    return tuple(
        name for name, entry in load_price_map().items() if "/" not in name and entry.get("mode") in _TEXT_MODES
    )


def _read_json(*parts: str) -> dict[str, Any]:
    folder = litellm_folder()
    if folder is None:
        return {}
    try:
        content = orjson.loads(folder.joinpath(*parts).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
