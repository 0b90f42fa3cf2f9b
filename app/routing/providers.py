"""What is particular about providers: who translates, where they are asked, which ones have to log in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_ALIASES = {
    "ollama_chat": "ollama",
    "bedrock_converse": "bedrock",
    "sagemaker_chat": "sagemaker",
    "vertex_ai_beta": "vertex_ai",
    "watsonx_text": "watsonx",
}
"""Several names of litellm's for one provider of the person's."""

_WIRES = {"ollama": "ollama_chat", "embedded": "hosted_vllm", "vllm": "hosted_vllm"}
"""`ollama_chat` keeps roles and tools, `ollama` flattens them; `vllm` would run the engine inside this process."""

_DEFAULT_BASES = {
    "ollama": "http://127.0.0.1:11434",
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "lm_studio": "http://127.0.0.1:1234/v1",
    "llamafile": "http://127.0.0.1:8080/v1",
    "lemonade": "http://127.0.0.1:8000/api/v1",
    "docker_model_runner": "http://127.0.0.1:22088/engines/llama.cpp",
}
"""Where there is no setting. The last three are litellm 1.106.2's defaults with the address for the name localhost."""

_BASE_VARIABLES = {
    "ollama": ("OLLAMA_API_BASE", "OLLAMA_HOST"),
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
    "vllm": ("HOSTED_VLLM_API_BASE",),
}
"""Environment variables that move a provider, first one set wins. Any other provider: `<PROVIDER>_API_BASE`."""

_NEEDS_BASE = frozenset(
    {"custom", "custom_openai", "hosted_vllm", "litellm_proxy", "oobabooga", "openai_like", "vllm", "xinference"}
)
"""Protocols rather than places. Without an address litellm would ask api.openai.com (FACTS: `hosted_vllm`)."""

_LOGS_IN = frozenset(
    {"bedrock", "bedrock_mantle", "chatgpt", "gigachat", "github_copilot", "microsoft_365_copilot", "oci", "sagemaker",
     "sap", "vertex_ai", "watsonx"}
)  # fmt: skip
"""Each request is signed, or a session is opened first: more than a URL, headers and a body."""

_TOKENIZERS = (
    ("codellama", "llama2"), ("llama-4", "llama4"), ("llama4", "llama4"),
    ("llama-3", "llama3"), ("llama3", "llama3"), ("llama-2", "llama2"), ("llama2", "llama2"), ("vicuna", "llama2"),
    ("claude", "claude"), ("gemini", "gemini"), ("gemma", "gemini"),
    ("gpt-4o", "gpt-4o"), ("chatgpt", "gpt-4o"), ("gpt-4.1", "gpt-4.1"), ("gpt-4.5", "gpt-4o"), ("gpt-5", "gpt-5"),
    ("gpt-oss", "gpt-oss"), ("gpt-4", "gpt-4"), ("gpt-3.5", "gpt-3.5"),
    ("nemo", "tekken"), ("pixtral", "tekken"), ("ministral", "tekken"),
    ("mixtral", "mistral"), ("mistral", "mistral"), ("codestral", "mistral"), ("devstral", "tekken"),
    ("qwen", "qwen"), ("qwq", "qwen"),
)  # fmt: skip
"""Part of a model's name to the name of its tokenizer; the first that occurs decides."""
_O_SERIES = ("o1", "o3", "o4")


def canonical(provider: str) -> str:
    """The provider as the person knows it: `ollama` for litellm's `ollama_chat`, `vertex_ai` for its families."""
    if provider.startswith("vertex_ai-"):
        return "vertex_ai"
    return _ALIASES.get(provider, provider)


def wire_of(provider: str) -> str:
    """litellm's provider that translates for a canonical one."""
    return _WIRES.get(provider, provider)


def effective_base(
    provider: str, model_base: str | None, provider_base: str | None, env: Mapping[str, str]
) -> str | None:
    """Where a model is asked: its own `api_base`, its provider's, the environment's, the usual one.

    None: an in-process model, or one asked at litellm's own address.
    """
    base = model_base or provider_base or _base_from_env(provider, env) or _DEFAULT_BASES.get(provider)
    return base.rstrip("/") if base else None


def _base_from_env(provider: str, env: Mapping[str, str]) -> str | None:
    variables = _BASE_VARIABLES.get(provider) or (provider.upper().replace("-", "_") + "_API_BASE",)
    value = next((env[v].strip() for v in variables if env.get(v, "").strip()), None)
    return ollama_host_url(value) if value and provider == "ollama" else value


def ollama_host_url(value: str) -> str:
    """Ollama's `OLLAMA_HOST` as a URL: scheme and port may be missing, and the address may be one a server listens on.

    As Ollama's own client does it (envconfig.Host and ConnectableHost): port 11434 unless a scheme brings its own, and
    0.0.0.0 or [::] become loopback, since "every address" is nowhere to connect to.
    """
    text = value.strip().strip("\"'").rstrip("/")
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme.lower() if separator else "http"
    authority, slash, path = rest.partition("/")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return text
    if "@" in authority or scheme not in ("http", "https"):
        return text
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host or "", host or "")
    port = port or (None if separator else 11434)
    netloc = f"[{host}]" if ":" in host else host
    return f"{scheme}://{netloc}{f':{port}' if port else ''}{slash}{path}"


def why_unusable(provider: str, api_base: str | None, map_entry: Mapping[str, Any] | None) -> str | None:
    """Why a model can never be asked as things stand, in one sentence; None where it can."""
    if provider in _LOGS_IN:
        return f"{provider} signs its requests or logs in, which is not supported"
    if provider in _NEEDS_BASE and api_base is None:
        return f"{provider} has no address of its own: set api_base for the model or the provider in models.yaml"
    mode = (map_entry or {}).get("mode")
    if mode not in (None, "chat", "completion", "responses"):
        return f"it does not answer in text (litellm lists it under {mode})"
    return None


def guess_tokenizer(provider: str, name: str) -> str:
    """The tokenizer's name, from the model's. Unknown names give the provider's own, else `unknown` (a safe prior).

    `openai/` is also how every local server that speaks OpenAI's wire is called, so it says nothing about a tokenizer.
    """
    lowered = name.lower()
    for part, tokenizer in _TOKENIZERS:
        if part in lowered:
            return tokenizer
    if lowered.rpartition("/")[2].startswith(_O_SERIES) and provider in ("openai", "azure", "openrouter"):
        return "gpt-4o"
    return {"builtin": "builtin", "anthropic": "claude", "gemini": "gemini"}.get(provider, "unknown")
