"""The only file that imports litellm: a call to (url, headers, body), a provider's bytes to chunks, its errors to ours.

litellm is a translator here and nothing else. Its provider classes (`BaseConfig`) know how every provider wants to be
asked and how it answers; the connection is ours (`app.llm.transport`). Those classes are not its public face, so the
version is pinned and `tests/unit/test_translate_*.py` run each of them against a server that speaks the real wire.

litellm never reaches the network: its price map and tokenizers are the bundled ones, and its HTTP clients are given a
transport that refuses every connection (`_deny_connections`).
"""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.errors import AttemptError, BadChunk, EgressBlocked, FailureKind, Unsupported
from app.llm import failures, left_out, shapes, warmup
from app.llm.calls import Chunk, ModelCall
from app.llm.readers import AnthropicReader, OllamaReader, OpenAIReader, TranslatedReader, Unusual, gemini_end_mark
from app.llm.readiness import Readiness
from app.llm.wires import Payload, Reader, StreamParser

ENVIRONMENT: Mapping[str, str] = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    # Any other mode reads a `.env` from the current folder: a workspace's could redirect every call.
    "LITELLM_MODE": "PRODUCTION",
    "DISABLE_AIOHTTP_TRUST_ENV": "True",
    "HF_HUB_OFFLINE": "1",
    # Its warnings tell people nothing they can act on here, and its debug output holds prompts and keys.
    "LITELLM_LOG": "ERROR",
    "REPEATED_STREAMING_CHUNK_LIMIT": "1000000000",
}
"""Read by litellm when it is imported."""

DEFAULT_BASES: Mapping[str, str] = {
    "ollama_chat": "http://127.0.0.1:11434",
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "openrouter": "https://openrouter.ai/api/v1",
}
"""Where litellm's own default is unset, wrong, or read from the environment. Others are asked of litellm."""
SIGN_OR_LOG_IN = (
    "bedrock", "sagemaker", "vertex_ai", "watsonx", "oci", "gigachat", "github_copilot", "chatgpt", "sap", "gdc",
    "snowflake", "databricks",
)  # fmt: skip
REMEMBERED = 512
OLLAMA_PENALTIES = ("frequency_penalty", "presence_penalty")
KEEP_ALIVE = "5m"
"""How long Ollama keeps a model loaded after its answer; `params: {keep_alive: …}` says otherwise."""


@dataclass(frozen=True, slots=True)
class _Provider:
    """litellm's translation of one model: its `BaseConfig`, the parameters it knows, and where it asks by itself.

    `knows_address`: without a base it still finds its own server, and does not fall back to OpenAI's.
    """

    config: Any
    supported: frozenset[str]
    default_base: str | None
    knows_address: bool


@dataclass(frozen=True, slots=True)
class _Library:
    """The parts of litellm that are used, once it is imported."""

    litellm: Any
    configs: Any
    openai_params: frozenset[str]
    openai_config: Any
    openai_handler: Any
    anthropic_iterator: Any
    anthropic_betas: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
    anthropic_tool_names: Callable[[list[Any]], tuple[dict[str, str], dict[str, str]]]
    gemini_iterator: Any
    gemini_body: Callable[..., Any]


class _NoLogging:
    """What litellm's Gemini parser asks of a logging object."""

    optional_params: Mapping[str, Any] = {}
    model_call_details: Mapping[str, Any] = {}


class Translator:
    """Between `ModelCall` and the providers. `load` must have ended before anything but `wait_ready` is called.

    `redact` takes keys out of a provider's words before they are shown; `now` dates a Retry-After given as a date.
    """

    def __init__(self, redact: failures.Redact, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._redact = redact
        self._now = now
        self._library: _Library | None = None
        self._providers: dict[tuple[str, str], _Provider] = {}
        self._loading = Readiness()

    # -- loading -------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """True once litellm is imported and warmed."""
        return self._loading.ended and self._loading.failure is None

    @property
    def problem(self) -> str | None:
        """Why litellm cannot be used; None: it can, or is still being loaded."""
        return self._loading.failure

    def load(self) -> None:
        """Import litellm and warm every great wire: 2 s of work for a background thread. Never raises.

        Collection is off meanwhile (it would cost a third more); freezing what was made is the caller's to do. What
        goes wrong is raised by `wait_ready`, as `Unsupported`: the models that need no litellm go on.
        """
        failure: str | None = None
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._library = _import_litellm()
            for wire, answer in warmup.ANSWERS.items():
                call = warmup.sample_call(wire)
                self.request(call, shapes.NO_KEY)
                parser = self.parser(call)
                parser.feed(answer)
                parser.close()
        except Exception as error:
            failure = f"litellm cannot be used ({type(error).__name__}: {self._redact(str(error))[:200]})"
        finally:
            if collecting:
                gc.enable()
            self._loading.end(failure)

    async def wait_ready(self) -> None:
        """Return once `load` has ended. Raises `Unsupported` if it failed."""
        await self._loading.wait()

    # -- asking --------------------------------------------------------------------------------------------------

    def request(self, call: ModelCall, api_key: str | None) -> shapes.WireRequest:
        """The HTTP request of a call, always a streaming one.

        Raises `Unsupported` where the provider cannot do what is asked, `BadCredentials` where it needs a key and
        there is none.
        """
        shapes.refuse_images(call)
        try:
            provider = self._provider(call)
            return self._request(call, provider, shapes.key(call, api_key))
        except AttemptError:
            raise
        except Exception as error:
            failure = self.map_exception(call, error, otherwise=Unsupported)
            if failure.kind is FailureKind.FATAL:  # nobody was asked: the next candidate's translation may well do
                failure = Unsupported(failure.detail)
            raise failure from error

    def _request(self, call: ModelCall, provider: _Provider, key: str | None) -> shapes.WireRequest:
        config, model = provider.config, call.model
        base = (model.endpoint.api_base or provider.default_base or "").rstrip("/")
        if not base and not provider.knows_address:
            raise Unsupported(f"{model.id}: no address; set `api_base` for the model or its provider")
        if model.wire == "anthropic":
            base = shapes.anthropic_url(base)
        # litellm takes 3 µs a message, and gives most of them back to Ollama as they came.
        ready = shapes.ready_for_ollama if model.wire == "ollama_chat" else shapes.never_ready
        optional = self._parameters(call, provider)
        messages = shapes.with_objects(shapes.plain([message for message in call.messages if not ready(message)]))
        settings = {"api_base": base or None, "api_key": key, "custom_llm_provider": model.wire, "drop_params": True}
        common = {"model": model.name, "optional_params": optional, "litellm_params": settings}
        shown: Any = {"x-goog-api-key": key} if model.wire == "gemini" else key
        headers = config.validate_environment({}, messages=messages, api_key=shown, api_base=base or None, **common)
        if model.wire == "gemini":
            url = shapes.gemini_url(base, model.name)
            make_body = self._loaded().gemini_body
            body = make_body(messages=messages, custom_llm_provider="gemini", cached_content=None, **common)
            return shapes.WireRequest(url, shapes.headers(headers), shapes.encode(body))
        url = config.get_complete_url(api_base=base or None, api_key=key, stream=True, **common)
        body = config.transform_request(messages=messages, headers=headers, **common)
        body["stream"] = True
        if len(messages) < len(call.messages):
            translated = iter(body["messages"])
            body["messages"] = [message if ready(message) else next(translated) for message in call.messages]
        if model.wire == "anthropic":
            headers, body = self._loaded().anthropic_betas(headers=headers, request_data=body, provider="anthropic")
        elif "stream_options" in provider.supported:
            body["stream_options"] = {"include_usage": True}
        return shapes.WireRequest(url, shapes.headers(headers), shapes.encode(body))

    def _parameters(self, call: ModelCall, provider: _Provider) -> dict[str, Any]:
        """The provider's own parameters. What the request says wins over what the configuration says."""
        model, ollama = call.model, call.model.wire == "ollama_chat"
        wanted, own = self._sorted(call, provider)
        wanted |= shapes.asked(call)
        if ollama:
            # Ollama has both under these names; litellm knows one, and takes it for `repeat_penalty`, where 0 is ruin.
            own |= {name: wanted.pop(name) for name in OLLAMA_PENALTIES if name in wanted}
        for name in ("tools", "response_format"):
            if name in wanted and name not in provider.supported:
                raise Unsupported(f"{model.id} does not support `{name}`")
        wanted = {name: value for name, value in wanted.items() if name in provider.supported}
        mapped = provider.config.map_openai_params(shapes.plain({**wanted, "stream": True}), {}, model.name, True)
        if mapped.pop("fake_stream", False):
            raise Unsupported(f"{model.id} cannot stream an answer in a given `response_format`")
        mapped.pop("json_mode", None)
        if model.wire == "gemini":
            mapped.pop("stream", None)
        if ollama:
            own = {"keep_alive": KEEP_ALIVE, **own, "num_ctx": model.context_window.value}
        return {**shapes.plain(own), **mapped}

    def _sorted(self, call: ModelCall, provider: _Provider) -> tuple[dict[str, Any], dict[str, Any]]:
        """The configuration's parameters: those to be translated, and the provider's own.

        A name of OpenAI's is translated, or dropped where the model has nothing like it. Any other goes to the body as
        it is; to Ollama's `options` go OpenAI's too, for Ollama knows more of them than litellm.
        """
        if forbidden := shapes.OURS & call.params.keys():
            raise Unsupported(f"{call.model.id}: `params` may not set {', '.join(sorted(forbidden))}")
        known = provider.supported
        if call.model.wire != "ollama_chat":
            known |= self._loaded().openai_params
        wanted = {name: value for name, value in call.params.items() if name in known}
        return wanted, {name: value for name, value in call.params.items() if name not in known}

    # -- answers -------------------------------------------------------------------------------------------------

    def parser(self, call: ModelCall) -> StreamParser:
        """A parser for one answer to `call`."""
        provider = self._provider(call)
        return StreamParser(self._reader(call, provider), sse=call.model.wire != "ollama_chat")

    def _reader(self, call: ModelCall, provider: _Provider) -> Reader:
        library, wire = self._loaded(), call.model.wire

        def failure(payload: Payload) -> AttemptError:
            return failures.in_stream(call, payload, redact=self._redact)

        if wire == "anthropic":
            iterator = self._anthropic_iterator(call, provider)

            def finish() -> str | None:
                return "stop" if iterator.converted_response_format_tool else None

            return AnthropicReader(self._unusual(call, iterator), failure, finish)
        if wire == "gemini":
            iterator = library.gemini_iterator(iter(()), sync_stream=True, logging_obj=_NoLogging())
            return TranslatedReader(self._unusual(call, iterator), failure, gemini_end_mark)
        iterator = provider.config.get_model_response_iterator(iter(()), sync_stream=True, json_mode=False)
        unusual = self._unusual(call, iterator)
        if wire == "ollama_chat":
            return OllamaReader(unusual, failure)
        if isinstance(iterator, library.openai_handler):
            plain = type(iterator).chunk_parser is library.openai_handler.chunk_parser
            return OpenAIReader(unusual, failure, plain_usage=plain)
        return TranslatedReader(unusual, failure)

    def _anthropic_iterator(self, call: ModelCall, provider: _Provider) -> Any:
        """It must know which tools were renamed on the way out, and whether the answer rides on a tool call."""
        library = self._loaded()
        _, renamed = library.anthropic_tool_names(shapes.plain(call.tools))
        json_mode = False
        if call.response_format is not None:
            asked = {"response_format": shapes.plain(call.response_format)}
            optional = provider.config.map_openai_params(asked, {}, call.model.name, True)
            json_mode = bool(optional.get("json_mode")) and "tools" in optional
        return library.anthropic_iterator(
            iter(()), sync_stream=True, json_mode=json_mode, tool_name_reverse_map=renamed
        )

    def _unusual(self, call: ModelCall, iterator: Any) -> Unusual:
        def read(payload: Payload) -> list[Chunk]:
            try:
                return shapes.chunks(iterator.chunk_parser(payload))
            except AttemptError:
                raise
            except Exception as error:
                raise self.map_exception(call, error, otherwise=BadChunk) from error

        return read

    # -- errors --------------------------------------------------------------------------------------------------

    def error(self, call: ModelCall, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """The error an HTTP answer other than 200 stands for."""
        return failures.of_status(call, status, headers, body, redact=self._redact, now=self._now())

    def map_exception(
        self, call: ModelCall, error: BaseException, *, otherwise: type[AttemptError] = BadChunk
    ) -> AttemptError:
        """An exception of litellm's as one of ours; `otherwise` for what it did not mean to raise."""
        return failures.of_exception(call, error, redact=self._redact, otherwise=otherwise)

    # -- litellm's classes ---------------------------------------------------------------------------------------

    def _loaded(self) -> _Library:
        if self._library is None:
            raise Unsupported(self._loading.failure or "litellm is still being loaded")
        return self._library

    def _provider(self, call: ModelCall) -> _Provider:
        key = (call.model.wire, call.model.name)
        provider = self._providers.get(key)
        if provider is None:
            if len(self._providers) >= REMEMBERED:  # ids come with requests too
                self._providers.clear()
            provider = self._providers[key] = self._find_provider(*key)
        return provider

    def _find_provider(self, wire: str, name: str) -> _Provider:
        library = self._loaded()
        if wire.startswith(SIGN_OR_LOG_IN):
            raise Unsupported(f"{wire} must sign requests or log in, which is not supported")
        if wire.startswith("text-completion"):
            raise Unsupported(f"{wire} continues a text and does not chat")
        try:
            with left_out.left_out(left_out.LEFT_OUT):  # litellm imports a provider's module when it is first asked for
                config = library.configs.get_provider_chat_config(name, library.litellm.LlmProviders(wire))
        except ValueError:
            config = None
        if config is None:
            raise Unsupported(f"litellm knows no chat provider {wire!r}")
        if config.has_custom_stream_wrapper or _signs(config):
            raise Unsupported(f"{wire} must sign requests or log in, which is not supported")
        if wire not in ("anthropic", "gemini"):
            iterator = config.get_model_response_iterator(iter(()), sync_stream=True, json_mode=False)
            if not hasattr(iterator, "chunk_parser") or config.uses_async_transform_request:
                raise Unsupported(f"{wire} has no stream that can be translated; try its OpenAI-style endpoint")
        base = DEFAULT_BASES.get(wire)
        if base is None and wire != "hosted_vllm":
            base = library.litellm.get_llm_provider(f"{wire}/{name}", api_key=shapes.NO_KEY)[3]
        knows = type(config).get_complete_url is not library.openai_config.get_complete_url
        return _Provider(config, frozenset(config.get_supported_openai_params(name)), base, knows)


def _import_litellm() -> _Library:
    os.environ.update(ENVIRONMENT)
    with left_out.left_out(left_out.LEFT_OUT):
        import litellm
    for module in (litellm.types.utils, litellm.utils):
        # These came with the calls that were left out, and the providers' classes look for them here.
        for name in vars(module).keys() - vars(litellm).keys():
            if isinstance(vars(module)[name], type):
                setattr(litellm, name, vars(module)[name])
    from litellm.anthropic_beta_headers_manager import update_request_with_filtered_beta
    from litellm.constants import OPENAI_CHAT_COMPLETION_PARAMS
    from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicIterator
    from litellm.llms.ollama.common_utils import OllamaModelInfo
    from litellm.llms.openai.chat.gpt_transformation import OpenAIChatCompletionStreamingHandler, OpenAIGPTConfig
    from litellm.llms.vertex_ai.gemini import transformation as gemini
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator as GeminiIterator
    from litellm.utils import ProviderConfigManager

    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.ERROR)  # LITELLM_LOG does not hold once the root logger is set up
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    litellm.disable_aiohttp_trust_env = True
    if litellm.api_base is not None:
        raise RuntimeError("litellm.api_base is set, and would redirect every call to Ollama")
    # It would ask localhost:11434/api/show, whatever the model's own address is.
    OllamaModelInfo.get_model_info = lambda *_, **__: None
    # To a Gemini it does not list it would send the system prompt as a question; only Gemma takes none over this API.
    _replace(gemini, "get_supports_system_message", lambda *, model, **_: "gemma" not in model.lower())
    # The map it has loaded is the bundled one (see ENVIRONMENT): reading it again would keep it in memory twice.
    _replace(litellm.utils, "get_bundled_model_cost_map", lambda: litellm.model_cost)
    _deny_connections(litellm)
    with warnings.catch_warnings():  # pydantic completes this class at first use, and complains of litellm's fields
        warnings.simplefilter("ignore")
        litellm.Message(content="")
    return _Library(
        litellm, ProviderConfigManager, frozenset(OPENAI_CHAT_COMPLETION_PARAMS),
        OpenAIGPTConfig, OpenAIChatCompletionStreamingHandler, AnthropicIterator, update_request_with_filtered_beta,
        litellm.AnthropicConfig._build_request_tool_name_maps, GeminiIterator, gemini.transform_request_body,
    )  # fmt: skip


def _deny_connections(litellm: Any) -> None:
    """Give every HTTP client litellm will make, its SDKs' included, a transport that refuses; and no proxies."""
    import httpx
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler

    class Refusing(httpx.BaseTransport, httpx.AsyncBaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise EgressBlocked(f"litellm tried to connect to {request.url.host}, which it never may")

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return self.handle_request(request)

    def refusing(*_: object, **__: object) -> Refusing:
        return Refusing()

    def no_mounts(*_: object, **__: object) -> None:
        return None

    for handler, names in (
        (AsyncHTTPHandler, ("create_async_transport", "_create_async_transport", "create_aiohttp_transport")),
        (HTTPHandler, ("_create_sync_transport",)),
    ):
        for name in names:
            _replace(handler, name, staticmethod(refusing))
    _replace(AsyncHTTPHandler, "create_httpx_proxy_mounts", staticmethod(no_mounts))
    _replace(HTTPHandler, "_create_sync_proxy_mounts", staticmethod(no_mounts))
    litellm.client_session = httpx.Client(transport=Refusing(), trust_env=False)
    litellm.aclient_session = httpx.AsyncClient(transport=Refusing(), trust_env=False)


def _replace(owner: Any, name: str, value: object) -> None:
    """Set what must be there already: a litellm that renamed it would have gone on connecting unseen."""
    if not hasattr(owner, name):
        raise RuntimeError(f"litellm's {owner.__name__}.{name} is gone: this file must follow it")
    setattr(owner, name, value)


def _signs(config: Any) -> bool:
    from litellm.llms.base_llm.chat.transformation import BaseConfig

    return type(config).sign_request is not BaseConfig.sign_request
