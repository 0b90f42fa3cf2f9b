"""What is known about each model: window, output limit, price, tokenizer, endpoint; each value with its source."""

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

    @property
    def location(self) -> Location:
        return self.endpoint.location
