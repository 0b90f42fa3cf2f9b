"""What is known about each model: window, output limit, price, tokenizer, endpoint; each value with its source.

`build_catalog` turns models.yaml, litellm's price map, the environment and what model servers reported into a
`ModelCatalog`. It asks nobody: all four are passed in.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from app.config.schema import ModelEntry, ModelsFile, ProviderEntry
from app.errors import UnknownModel
from app.routing.locality import IN_PROCESS_PROVIDERS, Location, host_of, locate
from app.routing.providers import canonical, effective_base, guess_tokenizer, why_unusable, wire_of
from app.routing.spec import Discovered, Endpoint, ModelSpec, Price, ServedModel, Source, Sourced

__all__ = [
    "Discovered", "Endpoint", "ModelCatalog", "ModelSpec", "Price", "ServedModel", "Source", "Sourced", "build_catalog",
]  # fmt: skip

DEFAULT_WINDOW: Final = 8_192
"""Tokens, where nobody says: the smallest window among today's chat models."""
EXTRACTIVE: Final = "builtin/extractive"
EXTRACTIVE_WINDOW: Final = 1_048_576
CAPABILITIES: Final = frozenset({"tools", "images", "response_format"})


class ModelCatalog:
    """Every configured model, and any other whose provider is known. Immutable to its users."""

    def __init__(self, specs: Iterable[ModelSpec], builder: _SpecBuilder) -> None:
        self._configured = {spec.id: spec for spec in specs}
        self._known = dict(self._configured)
        self._builder = builder

    def get(self, model_id: str) -> ModelSpec | None:
        """The configured model of that id, or None."""
        return self._configured.get(model_id)

    def all(self) -> tuple[ModelSpec, ...]:
        """The configured models, in the file's order, then `builtin/extractive` where the file does not list it."""
        return tuple(self._configured.values())

    def resolve(self, model_id: str) -> ModelSpec:
        """The model of that id, configured or not. Raises `UnknownModel` with what was probably meant."""
        spec = self._known.get(model_id)
        if spec is not None:
            return spec
        if not self._builder.resolvable(model_id):
            raise UnknownModel(self._unknown(model_id), field="model")
        spec = self._builder.build(ModelEntry(id=model_id))
        # Ids come with requests too: what is remembered of them is bounded.
        if len(self._known) < len(self._configured) + _REMEMBERED:
            self._known[model_id] = spec
        return spec

    def hosts(self) -> frozenset[str]:
        """The hosts of the configured endpoints, for looking them up in the machine's hosts file."""
        found = (host_of(spec.endpoint.api_base) for spec in self._configured.values() if spec.endpoint.api_base)
        return frozenset(host for host in found if host)

    def _unknown(self, model_id: str) -> str:
        shown = repr(model_id[:100])
        close = difflib.get_close_matches(model_id[:256], [*self._configured, *self._builder.prefixed(model_id)], 3)
        if close:
            return f"there is no model {shown}; did you mean {' or '.join(close)}?"
        if canonical(model_id.partition("/")[0]) == "embedded":
            return f"there is no model {shown}: list it in models.yaml with its file (`gguf: PATH`)"
        return f"there is no model {shown}; models.yaml lists {', '.join(self._configured)}, or write provider/name"


def build_catalog(
    models: ModelsFile,
    price_map: Mapping[str, Mapping[str, Any]],
    env: Mapping[str, str],
    discovered: Discovered | None = None,
    addresses: Mapping[str, tuple[str, ...]] | None = None,
    *,
    providers: Iterable[str] = (),
) -> ModelCatalog:
    """The catalog of models.yaml.

    `price_map` is litellm's bundled map (`app.config.pricemap.load_price_map`), `env` the environment, `addresses` what
    the hosts file says about names, `providers` further prefixes that may stand before the slash of an id; those of
    the map and of models.yaml are known anyway.
    """
    builder = _SpecBuilder(models, price_map, env, discovered or Discovered(), addresses or {}, frozenset(providers))
    specs = [builder.build(entry) for entry in models.models]
    if all(spec.id != EXTRACTIVE for spec in specs):
        specs.append(builder.build(ModelEntry(id=EXTRACTIVE)))
    return ModelCatalog(specs, builder)


_NEVER_LISTED = frozenset({"anthropic", "gemini"})
"""Wires whose servers are not asked which models they have."""
_REMEMBERED = 256
_ALWAYS_KNOWN = frozenset({
    "anthropic", "azure", "builtin", "deepseek", "embedded", "gemini", "groq", "hosted_vllm", "llamafile", "lm_studio",
    "mistral", "ollama", "ollama_chat", "openai", "openrouter", "together_ai", "vllm", "xai",
})  # fmt: skip
_ID_ON_DEMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,255}", re.ASCII)
"""Ids that come with a request end up in some providers' URL paths; those a person configured are taken as they are."""
_MILLION = Decimal(1_000_000)
_ZERO_PRICE = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))


class _SpecBuilder:
    """Everything a `ModelSpec` is made from, but the model's entry."""

    def __init__(
        self,
        models: ModelsFile,
        price_map: Mapping[str, Mapping[str, Any]],
        env: Mapping[str, str],
        discovered: Discovered,
        addresses: Mapping[str, tuple[str, ...]],
        providers: frozenset[str],
    ) -> None:
        self._models = models
        self._map = price_map
        self._env = env
        self._discovered = discovered
        self._addresses = addresses
        priced = {str(e["litellm_provider"]) for e in price_map.values() if e.get("litellm_provider")}
        self._providers = providers | priced | _ALWAYS_KNOWN | frozenset(models.providers)

    def resolvable(self, model_id: str) -> bool:
        """Whether the id can be made into a model without being configured."""
        if not _ID_ON_DEMAND.fullmatch(model_id) or ".." in model_id or "//" in model_id:
            return False
        prefix, slash, name = model_id.partition("/")
        if not slash:
            return self._map_provider(model_id) is not None
        if canonical(prefix) in IN_PROCESS_PROVIDERS:
            return model_id == EXTRACTIVE
        return bool(name) and prefix in self._providers

    def prefixed(self, model_id: str) -> list[str]:
        """Known ids a misspelt one is compared with, the configured ones aside."""
        prefix, slash, name = model_id[:256].partition("/")
        close = difflib.get_close_matches(prefix, sorted(self._providers), 2, 0.75) if slash else []
        return [f"{provider}/{name}" for provider in close if provider != prefix]

    def build(self, entry: ModelEntry) -> ModelSpec:
        """The model of one entry. Never raises: what cannot be asked says so in `unusable`."""
        prefix, name = self._split(entry.id)
        provider = canonical(prefix)
        settings = self._settings(prefix, provider)
        base = self._base(provider, entry, settings)
        mapped = self._map_entry(entry.id, provider, name)
        served = self._discovered.find(base, name)
        endpoint = self._endpoint(provider, name, base, (entry.location, settings.location), served)
        unusable = why_unusable(provider, base, mapped)
        if unusable is not None:
            endpoint = Endpoint(base, Location.CLOUD, unusable)
        window = _window(entry, provider, mapped, served)
        warnings = [unusable] if unusable else []
        if window.source is Source.DEFAULT and provider != "builtin":
            warnings.append(
                f"its context window is unknown and counts as {DEFAULT_WINDOW:,} tokens; set context_window"
            )
        return ModelSpec(
            id=entry.id,
            provider=provider,
            wire=wire_of(provider),
            name=name,
            endpoint=endpoint,
            context_window=window,
            max_output_tokens=_output_limit(entry, mapped),
            price=_price(entry, provider, endpoint.location, mapped),
            tokenizer=entry.tokenizer or guess_tokenizer(provider, name),
            lacks=_lacks(entry, provider, mapped, served),
            params=entry.params,
            api_key_env=entry.api_key_env or settings.api_key_env,
            gguf=entry.gguf,
            available=self._available(provider, base, served),
            warnings=tuple(warnings),
            unusable=unusable,
        )

    def _split(self, model_id: str) -> tuple[str, str]:
        """(provider, name): by prefix, or by the map where there is none."""
        prefix, slash, name = model_id.partition("/")
        if slash:
            return prefix, name
        return self._map_provider(model_id) or "unknown", model_id

    def _map_provider(self, name: str) -> str | None:
        provider = self._map.get(name, {}).get("litellm_provider")
        return str(provider) if provider else None

    def _settings(self, prefix: str, provider: str) -> ProviderEntry:
        """The provider's entry, under the prefix as written, its usual name, or another name of the same provider."""
        for key in (prefix, provider):
            if key in self._models.providers:
                return self._models.providers[key]
        return next((e for k, e in self._models.providers.items() if canonical(k) == provider), ProviderEntry())

    def _base(self, provider: str, entry: ModelEntry, settings: ProviderEntry) -> str | None:
        if provider in IN_PROCESS_PROVIDERS:
            return None
        return effective_base(provider, entry.api_base, settings.api_base, self._env)

    def _map_entry(self, model_id: str, provider: str, name: str) -> Mapping[str, Any] | None:
        """litellm's entry: under the id, `provider/name`, or the bare name where it means the same provider."""
        bare = name.removesuffix(":latest")
        for key in (model_id, f"{provider}/{name}", f"{provider}/{bare}", name, bare):
            entry = self._map.get(key)
            if entry is not None and canonical(str(entry.get("litellm_provider"))) == provider:
                return entry
        return None

    def _endpoint(
        self,
        provider: str,
        name: str,
        base: str | None,
        declared: tuple[str | None, ...],
        served: ServedModel | None,
    ) -> Endpoint:
        location, reason = locate(
            provider,
            name,
            base,
            trusted_hosts=self._models.trusted_hosts,
            addresses=self._addresses,
            declared=declared,
        )
        if served is not None and served.remote and location.is_local:
            location, reason = Location.CLOUD, "its server says that it runs on somebody else's computer"
        return Endpoint(base, location, reason)

    def _available(self, provider: str, base: str | None, served: ServedModel | None) -> bool | None:
        if provider == "builtin":
            return True
        if wire_of(provider) in _NEVER_LISTED:
            return None  # also where a server that was asked for its models, by another wire, has the same address
        return served is not None if self._discovered.answered(base) else None


def _window(
    entry: ModelEntry, provider: str, mapped: Mapping[str, Any] | None, served: ServedModel | None
) -> Sourced[int]:
    if entry.context_window is not None:
        return Sourced(entry.context_window, Source.CONFIG)
    if (known := _tokens(mapped, "max_input_tokens")) is not None:
        return Sourced(known, Source.LITELLM)
    if served is not None and served.context_window is not None:
        return Sourced(served.context_window, Source.SERVER)
    return Sourced(EXTRACTIVE_WINDOW if provider == "builtin" else DEFAULT_WINDOW, Source.DEFAULT)


def _output_limit(entry: ModelEntry, mapped: Mapping[str, Any] | None) -> Sourced[int | None]:
    if entry.max_output_tokens is not None:
        return Sourced(entry.max_output_tokens, Source.CONFIG)
    if (known := _tokens(mapped, "max_output_tokens")) is not None:
        return Sourced(known, Source.LITELLM)
    return Sourced(None, Source.DEFAULT)


def _tokens(mapped: Mapping[str, Any] | None, key: str) -> int | None:
    value = (mapped or {}).get(key)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 else None


def _price(
    entry: ModelEntry, provider: str, location: Location, mapped: Mapping[str, Any] | None
) -> Sourced[Price | None]:
    """A configured price for one direction leaves the other at what is otherwise known; both unknown, none is."""
    known = _known_price(provider, location, mapped)
    cached, write, reasoning = (
        _decimal(amount)
        for amount in (
            entry.cached_input_cost_per_million,
            entry.cache_write_cost_per_million,
            entry.reasoning_cost_per_million,
        )
    )
    if entry.input_cost_per_million is None and entry.output_cost_per_million is None:
        if known.value is None or (cached, write, reasoning) == (None, None, None):
            return known
        named = {"cached_input": cached, "cache_write": write, "reasoning": reasoning}
        return Sourced(replace(known.value, **{k: v for k, v in named.items() if v is not None}), Source.CONFIG)
    per_input = _decimal(entry.input_cost_per_million)
    per_output = _decimal(entry.output_cost_per_million)
    if known.value is not None:
        per_input = known.value.input if per_input is None else per_input
        per_output = known.value.output if per_output is None else per_output
    if per_input is None or per_output is None:
        return Sourced(None, Source.DEFAULT)
    return Sourced(Price(per_input, per_output, cached, write, reasoning), Source.CONFIG)


def _known_price(provider: str, location: Location, mapped: Mapping[str, Any] | None) -> Sourced[Price | None]:
    """What a model costs that has no price of its own in the configuration."""
    if location.is_local:
        return Sourced(_ZERO_PRICE, Source.DEFAULT)
    # litellm lists Ollama's models at zero, also those that Ollama runs on its own servers for money.
    known = None if provider == "ollama" else _map_price(mapped)
    return Sourced(known, Source.LITELLM if known else Source.DEFAULT)


def _map_price(mapped: Mapping[str, Any] | None) -> Price | None:
    """The map's prices, which are per token."""
    entry = mapped or {}
    per_input = _per_million(entry.get("input_cost_per_token"))
    per_output = _per_million(entry.get("output_cost_per_token"))
    if per_input is None or per_output is None:
        return None
    return Price(
        per_input,
        per_output,
        _per_million(entry.get("cache_read_input_token_cost")),
        _per_million(entry.get("cache_creation_input_token_cost")),
        _per_million(entry.get("output_cost_per_reasoning_token")),
    )


def _per_million(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(f"{(Decimal(str(value)) * _MILLION).normalize():f}") if value >= 0 else None


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _lacks(
    entry: ModelEntry, provider: str, mapped: Mapping[str, Any] | None, served: ServedModel | None
) -> frozenset[str]:
    """Capabilities the model is known not to have: by configuration, by its server, by the map. Unknown is not lacking,
    with one exception: the map marks every model that sees images, so one it lists without the mark does not."""
    if provider == "builtin":
        return CAPABILITIES
    if entry.supports is not None:
        return CAPABILITIES - set(entry.supports)
    if served is not None and served.capabilities is not None:
        can = served.capabilities
        return frozenset(
            missing for missing, words in (("tools", {"tools"}), ("images", {"images", "vision"})) if not words & can
        )
    if mapped is None:
        return frozenset()
    missing = {"images"} if mapped.get("supports_vision") is not True else set()
    if mapped.get("supports_function_calling") is False:
        missing.add("tools")
    if mapped.get("supports_response_schema") is False:
        missing.add("response_format")
    return frozenset(missing)
