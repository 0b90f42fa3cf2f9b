"""LLMClient.stream(): one call to one model, as typed chunks. litellm translates, our transport carries.

    call ──> translate.request ──> transport.post ──> translate.parser ──> [Chunk, ...]
                                   (egress policy)

The two models that need no translation of addresses are told apart here and nowhere else: `builtin/…` answers in this
process, `embedded/…` is started first and then called like any OpenAI-style server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from app.config.secrets import Secrets, key_env_name
from app.errors import EgressBlocked, Unsupported
from app.llm import extractive
from app.llm.calls import Chunk, ModelCall, ReasoningDelta, TextDelta, ToolCallDelta
from app.llm.egress import EgressPolicy, applying
from app.llm.embedded import EmbeddedModels
from app.llm.filling import Filler
from app.llm.residence import Residence
from app.llm.shapes import WireRequest
from app.llm.translate import Translator
from app.llm.transport import Response, Transport
from app.llm.watchdog import Limits, Watchdog
from app.llm.wires import StreamParser
from app.routing.spec import ModelSpec

CONTENT = (TextDelta, ReasoningDelta, ToolCallDelta)
"""What the person gets to see: the first of these is the commit point."""
_NOBODY = EgressPolicy.local_only()
"""Translating asks nobody, whoever the call is for: what a provider's class tries to reach is refused by the hook."""


class LLMClient:
    """Asks models. Raises `AttemptError`s only; closing the generator closes the connection.

    `count` counts tokens for the built-in model's report of its own usage.
    """

    def __init__(
        self,
        translator: Translator,
        transport: Transport,
        embedded: EmbeddedModels,
        secrets: Secrets,
        count: Callable[[str], int],
    ) -> None:
        self._translator = translator
        self._transport = transport
        self._embedded = embedded
        self._secrets = secrets
        self._count = count
        self._residence = Residence(transport)
        self._filler = Filler(secrets.redact)

    def stream(self, call: ModelCall, limits: Limits) -> AsyncGenerator[list[Chunk], None]:
        """Batches of chunks, one per network read; ends only after the provider's own end mark.

        Raises `EgressBlocked` at once where a private request names a cloud model: the policy has kept such a model
        out of the route, and this is the second lock on the same door.
        """
        if call.local_only and not call.model.location.is_local:
            raise EgressBlocked(f"{call.model.id} is a cloud model and this request may not leave the machine")
        if call.model.provider == "builtin":
            if call.gap is not None:
                raise Unsupported(f"{call.model.id} answers questions and completes no text")
            return extractive.stream(call, self._count)
        return self._remote(call, limits)

    async def _remote(self, call: ModelCall, limits: Limits) -> AsyncGenerator[list[Chunk], None]:
        # Our own import is no slowness of the model's: its limits count from here on.
        await self._translator.wait_ready()
        watchdog = Watchdog(limits)
        try:
            async with AsyncExitStack() as stack:
                call, key = await watchdog.wait(self._address(call))
                if call.local_only and call.model.provider != "embedded":
                    await watchdog.wait(self._residence.require_local(call.model, key))
                response, parser = await self._ask(call, key, watchdog, stack)
                reads = await stack.enter_async_context(aclosing(response.chunks()))
                while (data := await watchdog.wait(anext(reads, None))) is not None:
                    if batch := parser.feed(data):
                        watchdog.content_seen = watchdog.content_seen or any(isinstance(c, CONTENT) for c in batch)
                        yield batch
                    if parser.complete:
                        break
                if rest := parser.close():
                    yield rest
        finally:
            watchdog.close()

    async def _ask(
        self, call: ModelCall, key: str | None, watchdog: Watchdog, stack: AsyncExitStack
    ) -> tuple[Response, StreamParser]:
        """An answer that has begun. Asked again at once where a server does not know that way of filling a gap."""
        local = call.local_only or call.model.location.is_local
        while True:
            request, parser = self._translated(call, key)
            posted = self._transport.post(request.url, request.headers, request.body, local=local)
            response = await watchdog.wait(stack.enter_async_context(posted))
            if response.status == 200:
                return response, parser
            body = await watchdog.wait(response.read())
            if not self._filler.refused(call, response.status, body):
                raise self._translator.error(call, response.status, response.headers, body)

    def _translated(self, call: ModelCall, key: str | None) -> tuple[WireRequest, StreamParser]:
        if (filling := self._filler.request(call, key)) is not None:
            return filling
        with applying(_NOBODY):
            return self._translator.request(call, key), self._translator.parser(call)

    async def _address(self, call: ModelCall) -> tuple[ModelCall, str | None]:
        """The call with the address to ask and the key to show. Waits for an embedded server."""
        model = call.model
        if model.provider != "embedded":
            return call, await self._key(model)
        api_base, key = await self._embedded.ensure(model)
        endpoint = replace(model.endpoint, api_base=api_base)
        return replace(call, model=replace(model, endpoint=endpoint)), key

    async def _key(self, model: ModelSpec) -> str | None:
        """The key to show. The keyring is asked for what the configuration names and for clouds: a local server seldom
        wants a key, and a completion must not wait for a keyring to say that it has none."""
        if model.api_key_env is not None:
            return await self._secrets.aget(model.api_key_env)
        usual = key_env_name(model.provider)
        return self._secrets.from_environment(usual) if model.location.is_local else await self._secrets.aget(usual)
