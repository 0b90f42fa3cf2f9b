"""The catalog: each value and its source, endpoints, and ids resolved on demand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.config.pricemap import load_price_map
from app.config.schema import ModelsFile
from app.errors import UnknownModel
from app.routing.catalog import Discovered, ModelCatalog, ServedModel, Source, build_catalog
from app.routing.locality import Location
from app.routing.providers import guess_tokenizer, ollama_host_url

OLLAMA = "http://127.0.0.1:11434"


def catalog_of(
    *entries: dict[str, Any], env: dict[str, str] | None = None, discovered: Discovered | None = None, **file: Any
) -> ModelCatalog:
    models = ModelsFile.model_validate({"models": list(entries), **file})
    return build_catalog(models, load_price_map(), env or {}, discovered)


def serving(*models: ServedModel) -> Discovered:
    return Discovered({OLLAMA: models})


class TestEndpoints:
    @pytest.mark.parametrize(
        ("model", "wire", "name", "api_base"),
        [
            ("ollama/llama3:8b", "ollama_chat", "llama3:8b", OLLAMA),
            ("ollama_chat/llama3:8b", "ollama_chat", "llama3:8b", OLLAMA),
            ("openai/gpt-4o", "openai", "gpt-4o", "https://api.openai.com/v1"),
            ("gpt-4o", "openai", "gpt-4o", "https://api.openai.com/v1"),
            ("claude-sonnet-4-5-20250929", "anthropic", "claude-sonnet-4-5-20250929", "https://api.anthropic.com"),
            ("gemini/x", "gemini", "x", "https://generativelanguage.googleapis.com"),
            ("lm_studio/qwen", "lm_studio", "qwen", "http://127.0.0.1:1234/v1"),
            ("groq/llama-3.1-8b-instant", "groq", "llama-3.1-8b-instant", None),
            ("openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o", None),
            ("builtin/extractive", "builtin", "extractive", None),
        ],
    )
    def test_on_demand(self, model: str, wire: str, name: str, api_base: str | None) -> None:
        spec = catalog_of().resolve(model)
        assert (spec.id, spec.wire, spec.name, spec.endpoint.api_base) == (model, wire, name, api_base)
        assert spec.unusable is None

    def test_the_model_then_the_provider_then_the_environment_then_the_default(self) -> None:
        env = {"OLLAMA_API_BASE": "https://env.example.com"}
        entry = {"id": "ollama/a", "api_base": "http://127.0.0.1:1"}
        providers = {"ollama": {"api_base": "http://127.0.0.1:2"}}
        catalog = catalog_of(entry, {"id": "ollama/b"}, env=env, providers=providers)
        assert catalog.resolve("ollama/a").endpoint.api_base == "http://127.0.0.1:1"
        assert catalog.resolve("ollama/b").endpoint.api_base == "http://127.0.0.1:2"
        assert catalog.resolve("ollama_chat/b").endpoint.api_base == "http://127.0.0.1:2"
        moved = catalog_of(env=env).resolve("ollama/b")
        assert moved.endpoint.api_base == "https://env.example.com"
        assert moved.location is Location.CLOUD
        assert catalog_of().resolve("ollama/b").endpoint.api_base == OLLAMA

    @pytest.mark.parametrize(
        ("variable", "model"),
        [
            ("OLLAMA_API_BASE", "ollama/x"), ("OLLAMA_HOST", "ollama/x"), ("OPENAI_BASE_URL", "gpt-4o"),
            ("OPENAI_API_BASE", "openai/x"), ("ANTHROPIC_BASE_URL", "anthropic/x"),
            ("ANTHROPIC_API_BASE", "claude-sonnet-4-5-20250929"), ("GEMINI_API_BASE", "gemini/x"),
            ("HOSTED_VLLM_API_BASE", "hosted_vllm/x"), ("HOSTED_VLLM_API_BASE", "vllm/x"),
            ("GROQ_API_BASE", "groq/x"),
        ],
    )  # fmt: skip
    def test_the_environment_moves_a_provider_and_its_location(self, variable: str, model: str) -> None:
        away = catalog_of(env={variable: "https://elsewhere.example.com"}).resolve(model)
        here = catalog_of(env={variable: "http://127.0.0.1:9"}).resolve(model)
        assert away.endpoint.api_base == "https://elsewhere.example.com"
        assert away.location is Location.CLOUD
        assert here.location is Location.LOOPBACK

    @pytest.mark.parametrize(
        ("value", "url"),
        [
            ("0.0.0.0", OLLAMA),
            ("0.0.0.0:9999", "http://127.0.0.1:9999"),
            ("[::]:9999", "http://[::1]:9999"),
            (":9999", "http://127.0.0.1:9999"),
            ("myhost", "http://myhost:11434"),
            ("https://myhost", "https://myhost"),
            ("http://myhost/path/", "http://myhost/path"),
            ('"127.0.0.1:11434"', OLLAMA),
            ("ftp://x", "ftp://x"),
            ("a@b", "a@b"),
            ("host:port", "host:port"),
        ],
    )
    def test_ollama_host_is_read_as_ollamas_client_reads_it(self, value: str, url: str) -> None:
        assert ollama_host_url(value) == url

    @pytest.mark.parametrize("model", ["hosted_vllm/x", "vllm/x", "litellm_proxy/x", "openai_like/x"])
    def test_a_protocol_without_an_address_is_unusable(self, model: str) -> None:
        entry = {"id": model}
        spec = catalog_of(entry).resolve(model)
        assert spec.unusable is not None
        assert "api_base" in spec.unusable
        assert spec.location is Location.CLOUD
        assert spec.unusable in spec.warnings
        usable = catalog_of({**entry, "api_base": "http://127.0.0.1:8000/v1"}).resolve(model)
        assert usable.unusable is None
        assert usable.location is Location.LOOPBACK

    @pytest.mark.parametrize(
        "model", ["bedrock/x", "bedrock_converse/x", "vertex_ai/x", "vertex_ai_beta/x", "sagemaker/x"]
    )
    def test_who_signs_or_logs_in_is_unusable_even_on_loopback(self, model: str) -> None:
        entry = {"id": model, "api_base": "http://127.0.0.1:8000"}
        build = build_catalog(ModelsFile.model_validate({"models": [entry]}), load_price_map(), {})
        spec = build.get(model)
        assert spec is not None
        assert "logs in" in (spec.unusable or "")
        assert spec.location is Location.CLOUD

    def test_what_does_not_answer_in_text_is_unusable(self) -> None:
        assert "embedding" in (catalog_of().resolve("text-embedding-3-small").unusable or "")

    def test_locations_of_model_and_provider_only_make_more_remote(self) -> None:
        catalog = catalog_of(
            {"id": "ollama/a", "location": "cloud"},
            {"id": "ollama/b", "location": "in_process"},
            {"id": "gpt-4o", "location": "loopback"},
            providers={"ollama": {"location": "trusted"}},
        )
        found = {spec.id: spec.location for spec in catalog.all()}
        assert found["ollama/a"] is Location.CLOUD
        assert found["ollama/b"] is Location.TRUSTED
        assert found["gpt-4o"] is Location.CLOUD

    def test_a_model_its_server_runs_elsewhere_is_cloud(self) -> None:
        spec = catalog_of(discovered=serving(ServedModel("mine:latest", remote=True))).resolve("ollama/mine")
        assert spec.location is Location.CLOUD
        assert spec.price.value is None

    def test_hosts_of_the_configured_endpoints(self) -> None:
        catalog = catalog_of({"id": "ollama/a", "api_base": "http://workstation:11434"}, {"id": "groq/x"})
        assert catalog.hosts() == {"workstation"}


class TestValues:
    def test_the_window_comes_from_config_then_the_map_then_the_server_then_a_default(self) -> None:
        served = serving(ServedModel("llama3:8b", 1), ServedModel("custom:latest", 4_321))
        catalog = catalog_of({"id": "ollama/llama3:70b", "context_window": 5_000}, discovered=served)
        windows = {
            i: catalog.resolve(i).context_window
            for i in ("ollama/llama3:70b", "ollama/llama3:8b", "ollama/custom", "ollama/x")
        }
        assert {i: (w.value, w.source) for i, w in windows.items()} == {
            "ollama/llama3:70b": (5_000, Source.CONFIG),
            "ollama/llama3:8b": (8_192, Source.LITELLM),
            "ollama/custom": (4_321, Source.SERVER),
            "ollama/x": (8_192, Source.DEFAULT),
        }
        assert any("8,192" in warning for warning in catalog.resolve("ollama/x").warnings)
        assert catalog.resolve("ollama/custom").warnings == ()

    def test_an_entry_of_another_provider_says_nothing(self) -> None:
        assert catalog_of().resolve("ollama/gpt-4o").context_window.source is Source.DEFAULT
        assert catalog_of().resolve("openai/gpt-4o").context_window.value == 128_000

    def test_prices(self) -> None:
        catalog = catalog_of(
            {"id": "ollama/paid", "input_cost_per_million": 0.5},
            {"id": "openai/new", "input_cost_per_million": 0.5},
            {"id": "gpt-4o-mini", "output_cost_per_million": 9, "cached_input_cost_per_million": 0.25},
        )
        claude = catalog.resolve("claude-sonnet-4-5-20250929").price
        assert claude.source is Source.LITELLM
        assert claude.value is not None
        assert (claude.value.input, claude.value.output) == (Decimal(3), Decimal(15))
        assert (claude.value.cached_input, claude.value.cache_write) == (Decimal("0.3"), Decimal("3.75"))
        gpt = catalog.resolve("gpt-4o").price.value
        assert gpt is not None
        assert (str(gpt.input), str(gpt.output)) == ("2.5", "10")
        local = catalog.resolve("ollama/llama3:8b").price.value
        assert local is not None
        assert local.input == local.output == 0
        paid = catalog.resolve("ollama/paid").price.value
        assert paid is not None
        assert (paid.input, paid.output) == (Decimal("0.5"), Decimal(0))
        assert catalog.resolve("openai/new").price.value is None  # one direction alone is no price
        mixed = catalog.resolve("gpt-4o-mini").price.value
        assert mixed is not None
        assert (mixed.input, mixed.output, mixed.cached_input) == (Decimal("0.15"), Decimal(9), Decimal("0.25"))
        assert catalog.resolve("openai/unheard-of").price.value is None
        assert catalog.resolve("ollama/gpt-oss:120b-cloud").price.value is None
        assert catalog.resolve("builtin/extractive").price.value == local

    def test_capabilities(self) -> None:
        served = serving(
            ServedModel("seeing:7b", capabilities=frozenset({"completion", "vision"})),
            ServedModel("tooled:7b", capabilities=frozenset({"completion", "tools"})),
        )
        catalog = catalog_of({"id": "ollama/listed", "supports": ["tools"]}, discovered=served)
        lacks = {
            "ollama/listed": {"images", "response_format"},
            "ollama/seeing:7b": {"tools"},
            "ollama/tooled:7b": {"images"},
            "ollama/unknown": set(),
            "ollama/llama3:8b": {"images"},
            "gpt-4o": set(),
            "gpt-3.5-turbo": {"images"},
            "builtin/extractive": {"tools", "images", "response_format"},
        }
        assert {model: set(catalog.resolve(model).lacks) for model in lacks} == lacks

    def test_availability(self) -> None:
        catalog = catalog_of(discovered=serving(ServedModel("llama3:latest")))
        assert catalog.resolve("ollama/llama3").available is True
        assert catalog.resolve("ollama/llama3:latest").available is True
        assert catalog.resolve("ollama/llama3:8b").available is False
        assert catalog.resolve("gpt-4o").available is None
        same = {"id": "anthropic/claude-x", "api_base": "http://127.0.0.1:11434", "location": "cloud"}
        beside = catalog_of(same, discovered=serving(ServedModel("llama3:latest")))
        assert beside.resolve("anthropic/claude-x").available is None
        assert catalog_of().resolve("ollama/llama3").available is None
        assert catalog_of().resolve("builtin/extractive").available is True

    @pytest.mark.parametrize(
        ("provider", "name", "tokenizer"),
        [
            ("ollama", "llama3:8b", "llama3"), ("ollama", "llama3.1", "llama3"), ("groq", "llama-3.1-8b", "llama3"),
            ("ollama", "codellama:13b", "llama2"), ("ollama", "llama2", "llama2"), ("ollama", "mixtral", "mistral"),
            ("ollama", "qwen2.5-coder", "qwen"), ("anthropic", "claude-x", "claude"),
            ("gemini", "gemini-2.0", "gemini"),
            ("openai", "gpt-4o-mini", "gpt-4o"), ("openai", "gpt-4", "gpt-4"), ("openai", "o3-mini", "gpt-4o"),
            ("openrouter", "openai/o3", "gpt-4o"), ("ollama", "gpt-oss:20b", "gpt-oss"), ("ollama", "phi3", "unknown"),
            ("anthropic", "newer", "claude"),
        ],
    )  # fmt: skip
    def test_the_tokenizer_is_guessed_from_the_name(self, provider: str, name: str, tokenizer: str) -> None:
        assert guess_tokenizer(provider, name) == tokenizer

    def test_what_the_entry_says_is_kept(self) -> None:
        entry = {"id": "ollama/a", "params": {"keep_alive": "5m"}, "tokenizer": "qwen", "max_output_tokens": 77}
        spec = catalog_of(entry, providers={"ollama": {"api_key_env": "OLLAMA_KEY"}}).resolve("ollama/a")
        assert (spec.params, spec.tokenizer, spec.api_key_env) == ({"keep_alive": "5m"}, "qwen", "OLLAMA_KEY")
        assert (spec.max_output_tokens.value, spec.max_output_tokens.source) == (77, Source.CONFIG)


class TestIds:
    def test_configured_models_and_the_built_in_one(self) -> None:
        catalog = catalog_of({"id": "ollama/a"}, {"id": "ollama/b"})
        assert [spec.id for spec in catalog.all()] == ["ollama/a", "ollama/b", "builtin/extractive"]
        assert catalog.get("ollama/c") is None
        assert catalog.resolve("ollama/c") is catalog.resolve("ollama/c")
        assert len(catalog.all()) == 3
        built_in = catalog.resolve("builtin/extractive")
        assert (built_in.context_window.value, built_in.location) == (1_048_576, Location.IN_PROCESS)
        assert built_in.warnings == ()

    @pytest.mark.parametrize(
        ("model", "hint"),
        [
            ("olama/llama3", "ollama/llama3"),
            ("ollama/../../etc", "provider/name"),
            ("gpt4-o-nope", "provider/name"),
            ("", "provider/name"),
            ("ollama/", ""),
            ("/x", "provider/name"),
            ("embedded/other", "gguf: PATH"),
            ("builtin/other", ""),
            ("ollama/a b", ""),
            ("gemini/x?key=1", ""),
            ("gemini/x#y", ""),
            ("ollama/" + "x" * 400, ""),
            ("ollama/\ud800", ""),
            ("claude-sonnet-4-5-2025", "claude-sonnet-4-5-20250929"),
        ],
    )
    def test_unknown_ids(self, model: str, hint: str) -> None:
        catalog = catalog_of({"id": "claude-sonnet-4-5-20250929"}, {"id": "ollama/llama3:8b"})
        with pytest.raises(UnknownModel, match=hint or "there is no model"):
            catalog.resolve(model)

    def test_wishes_do_not_fill_the_memory(self) -> None:
        catalog = catalog_of()
        for number in range(1_000):
            assert catalog.resolve(f"ollama/m{number}").name == f"m{number}"
        assert len(catalog._known) < 300
