"""One model as the rest of the program sees it, and what a model server says about the models it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from app.routing.locality import Location

T = TypeVar("T")


class Source(StrEnum):
    """Where a value of the catalog comes from, best first."""

    CONFIG = "config"
    LITELLM = "litellm"
    SERVER = "server"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A value and where it came from."""

    value: T
    source: Source


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, which is the same number as micro-dollars per token."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    """Of the output tokens that are thought; None: what the others cost."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is asked. `api_base` is None for in-process models and for litellm's own default of a provider."""

    api_base: str | None
    location: Location
    reason: str
    """One short sentence: why this location, for receipts and refusals."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model as the rest of the program sees it."""

    id: str
    """The configured id: what events and rows call it."""
    provider: str
    """The id's provider as the person knows it: ollama, openai, anthropic, gemini, builtin, embedded, …"""
    wire: str
    """litellm's provider that translates: ollama_chat for ollama, hosted_vllm for embedded, else mostly `provider`."""
    name: str
    """What the provider calls it: the id without its prefix."""
    endpoint: Endpoint
    context_window: Sourced[int]
    max_output_tokens: Sourced[int | None]
    price: Sourced[Price | None]
    """None: unknown. A local model's price is zero."""
    tokenizer: str
    """The name `context.tokens.TokenCounter` knows."""
    lacks: frozenset[str] = frozenset()
    """Capabilities it is known not to have: tools, images, response_format."""
    params: Mapping[str, Any] = field(default_factory=dict)
    api_key_env: str | None = None
    gguf: str | None = None
    available: bool | None = None
    """False: its server does not list it. None: not known. It is tried either way when its turn comes."""
    warnings: tuple[str, ...] = ()
    unusable: str | None = None
    """Why it can never be asked as things stand, in one sentence: it must sign in, or has no address."""

    @property
    def location(self) -> Location:
        return self.endpoint.location


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model that a server lists."""

    name: str
    context_window: int | None = None
    """Tokens; None: the server does not say."""
    capabilities: frozenset[str] | None = None
    """Everything it can do, in our words or Ollama's (`vision` is `images`); None: the server does not say."""
    remote: bool = False
    """True: the server only passes requests on to somebody else's computer."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What model servers reported. A server that is missing was not asked, or did not answer."""

    servers: Mapping[str, tuple[ServedModel, ...]] = field(default_factory=dict)
    """By api_base, without a trailing slash."""

    def answered(self, api_base: str | None) -> bool:
        return api_base in self.servers

    def find(self, api_base: str | None, name: str) -> ServedModel | None:
        """The model `name`, where `x` equals `x:latest`. None: not listed, or the server is not known."""
        wanted = _with_tag(name)
        return next((m for m in self.servers.get(api_base or "", ()) if _with_tag(m.name) == wanted), None)


def _with_tag(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
