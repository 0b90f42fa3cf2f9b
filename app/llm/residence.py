"""Whether a model server on this machine answers by itself: asked of the server before a private prompt goes to it.

An Ollama server passes some of its models on to somebody else's computers. The names of such models often say so
(`app.routing.locality.runs_elsewhere`), and `app.llm.discovery` reads it off the server's list. Neither is enough where
a prompt must not leave: a copy of a cloud model may have any name, a name may be spelt in several ways, and the list
may be older than the model, or not have been read yet. `/api/show` resolves the name as the call itself would.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from app.errors import AttemptError, EgressBlocked, ServerFailed
from app.llm.discovery import FetchesJson, remote_host
from app.routing.spec import ModelSpec

KEPT_SECONDS: Final = 30.0
"""How long a server's word is good for; a completion while typing must not ask twice."""
ANSWER_SECONDS: Final = 2.0
REMEMBERED: Final = 256
OLLAMA_WIRE: Final = "ollama_chat"


@dataclass(slots=True)
class Residence:
    """Remembers, for a short while, which models their server was found to run by itself."""

    transport: FetchesJson
    monotonic: Callable[[], float] = time.monotonic
    _good_until: dict[tuple[str, str], float] = field(default_factory=dict)

    async def require_local(self, model: ModelSpec, key: str | None) -> None:
        """Return where the model runs on the server that is asked.

        Raises `EgressBlocked` where it does not; what the transport raises, and `ServerFailed`, where a server of
        Ollama's own protocol cannot say. Any other server may also be an Ollama, which speaks OpenAI's and Anthropic's
        protocols too; one that does not know the question is none.
        """
        base = (model.endpoint.api_base or "").removesuffix("/v1")
        asked = base, model.name
        if self._good_until.get(asked, float("-inf")) > self.monotonic():
            return
        try:
            shown = await self._show(base, model.name, key)
        except AttemptError as error:
            unknown = isinstance(error, ServerFailed) and error.provider_status == 404
            if model.wire == OLLAMA_WIRE and not unknown:
                raise
            shown = {}
        if host := remote_host(model.name, shown):
            raise EgressBlocked(
                f"{model.id} runs on {host[:100]}, its server says, and this request may not leave the machine"
            )
        if len(self._good_until) >= REMEMBERED:
            self._good_until.clear()
        self._good_until[asked] = self.monotonic() + KEPT_SECONDS

    async def _show(self, base: str, name: str, key: str | None) -> Mapping[str, object]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        body = orjson.dumps({"model": name})
        shown = await self.transport.get_json(
            f"{base}/api/show", local=True, timeout=ANSWER_SECONDS, headers=headers, body=body
        )
        if not isinstance(shown, Mapping):
            raise ServerFailed(f"{base}/api/show did not answer with an object")
        return shown
