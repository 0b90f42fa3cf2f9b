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

from app.errors import AttemptError, BadChunk, EgressBlocked, ServerFailed
from app.llm.discovery import FetchesJson, remote_host
from app.routing.spec import ModelSpec

KEPT_SECONDS: Final = 30.0
"""How long a server's word is good for; a completion while typing must not ask twice."""
ANSWER_SECONDS: Final = 2.0
PATIENT_SECONDS: Final = 30.0
"""For a server of another protocol: some do one thing at a time, and the prompt would wait as long, too."""
_UNKNOWN_THERE: Final = frozenset({400, 404, 405, 410, 415, 422, 501})
"""What a server answers that does not know the question. One that is busy, or wants another key, may know it."""
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

        Raises `EgressBlocked` where it does not, and what the transport raises where the server cannot say. Any server
        may be an Ollama, which speaks OpenAI's and Anthropic's protocols too; one that says that it does not know the
        question is none. One that says nothing may be, and gets no private prompt.
        """
        base = (model.endpoint.api_base or "").removesuffix("/v1")
        asked = base, model.name
        if self._good_until.get(asked, float("-inf")) > self.monotonic():
            return
        known = True
        try:
            shown = await self._show(base, model, key)
        except AttemptError as error:
            if not _knows_no_such_question(error, model.wire == OLLAMA_WIRE):
                raise
            shown, known = {}, model.wire != OLLAMA_WIRE
        if host := remote_host(model.name, shown):
            raise EgressBlocked(
                f"{model.id} runs on {host[:100]}, its server says, and this request may not leave the machine"
            )
        if not known:
            return  # it has no such model now, and a moment later it may have one, from anywhere
        if len(self._good_until) >= REMEMBERED:
            self._good_until.clear()
        self._good_until[asked] = self.monotonic() + KEPT_SECONDS

    async def _show(self, base: str, model: ModelSpec, key: str | None) -> Mapping[str, object]:
        headers = {"Content-Type": "application/json"}
        if key:
            headers |= {"x-api-key": key} if model.wire == "anthropic" else {"Authorization": f"Bearer {key}"}
        shown = await self.transport.get_json(
            f"{base}/api/show",
            local=True,
            timeout=ANSWER_SECONDS if model.wire == OLLAMA_WIRE else PATIENT_SECONDS,
            headers=headers,
            body=orjson.dumps({"model": model.name}),
        )
        if not isinstance(shown, Mapping):
            raise BadChunk(f"{base}/api/show did not answer with an object")
        return shown


def _knows_no_such_question(error: AttemptError, ollama: bool) -> bool:
    """Whether a server has said that it does not know the question; one of Ollama's own: that it has no such model."""
    if isinstance(error, BadChunk):
        return not ollama
    status = error.provider_status if isinstance(error, ServerFailed) else None
    return status == 404 if ollama else status in _UNKNOWN_THERE
