"""The bytes of servers that go on with a text: Ollama's `/api/generate`, OpenAI's "Completions"."""

from __future__ import annotations

from typing import Any

from tests.fakes.steps import Reply
from tests.fakes.wires import CREATED, Frame, OllamaWire, OpenAIWire, dumps


class GenerateWire(OllamaWire):
    malformed = b'{"model":"m","response":"a\n'

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]:
        head = {"model": model, "created_at": "2026-01-01T00:00:00.000000Z"}
        frames = [Frame(dumps({**head, "response": text, "done": False}) + b"\n", delta=True) for text in reply.text]
        counts = {"prompt_eval_count": reply.input_tokens or prompt_tokens, "eval_count": reply.deltas}
        end: dict[str, Any] = {**head, "response": "", "done": True, "done_reason": reply.finish}
        return [*frames, Frame(dumps(end | (counts if reply.usage else {})) + b"\n")]


class CompletionsWire(OpenAIWire):
    malformed = b'data: {"id":"c","choices":[{"te\n\n'

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]:
        def chunk(text: str, finish: str | None = None) -> bytes:
            return self._text(model, [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}])

        frames = [Frame(chunk(text), delta=True) for text in reply.text]
        frames.append(Frame(chunk("", reply.finish)))
        if reply.usage:
            frames.append(Frame(self._text(model, [], usage=self._usage(reply, prompt_tokens))))
        return [*frames, Frame(b"data: [DONE]\n\n")]

    def _text(self, model: str, choices: list[dict[str, Any]], **rest: Any) -> bytes:
        head = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": model}
        return b"data: " + dumps({**head, "choices": choices, **rest}) + b"\n\n"


GENERATE, COMPLETIONS = GenerateWire(), CompletionsWire()
