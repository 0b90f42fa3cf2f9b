"""Inline completions: a gap as the request a model server takes best, and its stream's readers.

    Gap ──> Ollama: /api/generate with `suffix`   (refused: the family's own marks, raw)
        ──> OpenAI-style servers: /v1/completions with the family's marks
        ──> everybody else: an ordinary chat that asks for what belongs at the cursor

What a server turns out not to have is remembered, and the next best way is taken for it from then on. litellm is not
asked: these bodies are short and the wires are Ollama's (`docs/api.md`) and OpenAI's ("Completions").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from app.context.gap import Gap
from app.errors import AttemptError, BadChunk
from app.llm import failures, shapes
from app.llm.calls import Chunk, Finish, ModelCall, TextDelta, Usage
from app.llm.readers import FINISH_REASONS, count, openai_usage
from app.llm.wires import Payload, StreamParser

KEEP_ALIVE: Final = "5m"
DEFAULT_BASES: Final[Mapping[str, str]] = {
    "ollama_chat": "http://127.0.0.1:11434",
    "openai": "https://api.openai.com/v1",
}
COMPLETES: Final = frozenset({"openai", "hosted_vllm", "vllm", "lm_studio", "llamafile"})
"""Wires whose servers have `/completions` beside `/chat/completions`."""
OPENAI_COMPLETES: Final = re.compile(r"-instruct(?:-|$)|^(?:davinci|babbage)-002$")
"""Of OpenAI's own models, those that complete a text; they take `suffix` itself."""
NO_INSERT: Final = re.compile(r"does not support insert", re.IGNORECASE)
REMEMBERED: Final = 512
MOST_STOPS: Final = 4
"""OpenAI's limit of `stop`; some servers keep to it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How a family of models was trained to see a gap, with `{prefix}` and `{suffix}`; and what ends its answer."""

    name: re.Pattern[str]
    template: str
    stop: tuple[str, ...]

    def prompt(self, prefix: str, suffix: str) -> str:
        before, _, rest = self.template.partition("{first}")
        between, _, after = rest.partition("{second}")
        first, second = (suffix, prefix) if self.suffix_first else (prefix, suffix)
        return f"{before}{first}{between}{second}{after}"

    def read(self, prompt: str) -> Gap | None:
        """The opposite of `prompt`; None where the marks are not there."""
        before, _, rest = self.template.partition("{first}")
        between, _, after = rest.partition("{second}")
        if not (prompt.startswith(before) and prompt.endswith(after)):
            return None
        first, found, second = prompt[len(before) : len(prompt) - len(after)].partition(between)
        if not found:
            return None
        return Gap(second, first) if self.suffix_first else Gap(first, second)

    @property
    def suffix_first(self) -> bool:
        return self.template.startswith("[SUFFIX]")


FAMILIES: Final[tuple[Marks, ...]] = (
    # Rozière et al. 2023, "Code Llama", 2.3; its spaces are part of it.
    Marks(re.compile(r"code-?llama", re.I), "<PRE> {first} <SUF>{second} <MID>", ("<EOT>",)),
    Marks(
        re.compile(r"qwen[\d.]*-?coder|codeqwen|codegemma", re.I),
        "<|fim_prefix|>{first}<|fim_suffix|>{second}<|fim_middle|>",
        ("<|endoftext|>", "<|fim_pad|>", "<|file_sep|>", "<|file_separator|>"),
    ),
    Marks(
        re.compile(r"deepseek-coder", re.I),
        "<｜fim▁begin｜>{first}<｜fim▁hole｜>{second}<｜fim▁end｜>",
        ("<｜end▁of▁sentence｜>", "<|EOT|>"),
    ),
    Marks(
        re.compile(r"starcoder|stable-code|granite-code|santacoder", re.I),
        "<fim_prefix>{first}<fim_suffix>{second}<fim_middle>",
        ("<|endoftext|>", "<file_sep>"),
    ),
    Marks(re.compile(r"codestral", re.I), "[SUFFIX]{first}[PREFIX]{second}", ("</s>",)),
)


def read_marks(prompt: str) -> Gap | None:
    """The gap in a prompt that already has some family's marks; None: it has none."""
    return next((gap for family in FAMILIES if (gap := family.read(prompt)) is not None), None)


def marks_of(name: str) -> Marks | None:
    """The marks of the family a model's name tells; None: none that is known."""
    return next((family for family in FAMILIES if family.name.search(name)), None)


class Way(IntEnum):
    """How a gap is asked for, best first."""

    INSERT = 0
    """The server puts prefix and suffix together itself."""
    MARKS = 1
    """We put them together with the family's marks, or there is nothing after the cursor."""
    CHAT = 2


class Filler:
    """Gaps to requests. Remembers, by model, which ways its server has refused.

    `redact` takes keys out of a server's words before they are shown.
    """

    def __init__(self, redact: failures.Redact) -> None:
        self._redact = redact
        self._least: dict[tuple[str, str | None], Way] = {}

    def request(self, call: ModelCall, api_key: str | None) -> tuple[shapes.WireRequest, StreamParser] | None:
        """The request and the parser of its answer; None: it is to be a chat. Raises `BadCredentials`."""
        if call.gap is None or (way := self._way(call)) is Way.CHAT:
            return None
        base = (call.model.endpoint.api_base or DEFAULT_BASES[call.model.wire]).rstrip("/")
        headers = {"Content-Type": "application/json"}
        if key := shapes.key(call, api_key):
            headers["Authorization"] = f"Bearer {key}"
        failure = self._failure(call)
        if call.model.wire == "ollama_chat":
            url, body = f"{base}/api/generate", _generate(call, way)
            parser = StreamParser(GenerateReader(failure), sse=False)
        else:
            url, body = f"{base}/completions", _completion(call, way)
            parser = StreamParser(CompletionReader(failure), sse=True)
        return shapes.WireRequest(url, headers, shapes.encode(body)), parser

    def refused(self, call: ModelCall, status: int, body: bytes) -> bool:
        """Whether the server has just refused this way of asking, and there is another to be taken at once."""
        if call.gap is None or (way := self._way(call)) is Way.CHAT:
            return False
        if call.model.wire == "ollama_chat":
            refused = status == 400 and NO_INSERT.search(body[:2048].decode("utf-8", "replace")) is not None
        else:
            refused = status in (404, 405, 501) and b"model" not in body[:2048].lower()
        if refused:
            if len(self._least) >= REMEMBERED:  # ids come with requests too
                self._least.clear()
            self._least[_server(call)] = Way(way + 1)
        return refused

    def _way(self, call: ModelCall) -> Way:
        model, gap = call.model, call.gap
        assert gap is not None
        least = self._least.get(_server(call), Way.INSERT)
        if model.wire == "ollama_chat":
            if gap.suffix and least is Way.INSERT:
                return Way.INSERT
            possible = not gap.suffix or marks_of(model.name) is not None
        elif model.wire not in COMPLETES or not (model.endpoint.api_base or model.wire in DEFAULT_BASES):
            return Way.CHAT
        elif model.wire == "openai" and not model.location.is_local and OPENAI_COMPLETES.search(model.name):
            return max(Way.INSERT, least)
        else:
            possible = marks_of(model.name) is not None or (not gap.suffix and model.location.is_local)
        return max(Way.MARKS, least) if possible else Way.CHAT

    def _failure(self, call: ModelCall) -> Callable[[Payload], AttemptError]:
        return lambda payload: failures.in_stream(call, payload, redact=self._redact)


def _server(call: ModelCall) -> tuple[str, str | None]:
    return call.model.id, call.model.endpoint.api_base


def _prompt(call: ModelCall) -> tuple[str, tuple[str, ...]]:
    """The prompt in the family's marks, and what ends the answer."""
    gap, marks = call.gap, marks_of(call.model.name)
    assert gap is not None
    if not gap.suffix or marks is None:
        return gap.prefix, call.stop
    return marks.prompt(gap.prefix, gap.suffix), (*call.stop, *marks.stop)[: max(MOST_STOPS, len(call.stop))]


def _generate(call: ModelCall, way: Way) -> dict[str, Any]:
    """Ollama's body. `num_ctx` as in chats, or the server would load the model anew."""
    params = {name: value for name, value in call.params.items() if name not in shapes.OURS}
    keep_alive = params.pop("keep_alive", KEEP_ALIVE)
    prompt, stop = _prompt(call)
    assert call.gap is not None
    body: dict[str, Any] = {"model": call.model.name, "stream": True, "keep_alive": keep_alive}
    if way is Way.INSERT:
        body |= {"prompt": call.gap.prefix, "suffix": call.gap.suffix}
        stop = call.stop
    else:
        body |= {"prompt": prompt, "raw": True}
    options = {**params, **_asked(call), "num_ctx": call.model.context_window.value}
    limit = options.pop("max_tokens", None)
    if limit is not None:
        options["num_predict"] = limit
    return {**body, "options": {**options, **({"stop": list(stop)} if stop else {})}}


def _completion(call: ModelCall, way: Way) -> dict[str, Any]:
    params = {name: value for name, value in call.params.items() if name not in shapes.OURS}
    prompt, stop = _prompt(call)
    assert call.gap is not None
    body: dict[str, Any] = {**params, **_asked(call), "model": call.model.name, "prompt": prompt, "stream": True}
    if way is Way.INSERT and call.gap.suffix:
        body |= {"prompt": call.gap.prefix, "suffix": call.gap.suffix}
        stop = call.stop
    if stop:
        body["stop"] = list(stop)
    return {**body, "stream_options": {"include_usage": True}}


def _asked(call: ModelCall) -> dict[str, Any]:
    wanted = {**call.sampling, "max_tokens": call.max_output_tokens, "temperature": call.temperature}
    return {name: value for name, value in wanted.items() if value is not None}


class GenerateReader:
    """Ollama's `/api/generate`: one JSON object per line with `response`, the last with `done: true` and the counts."""

    def __init__(self, failure: Callable[[Payload], AttemptError]) -> None:
        self.finished = self.complete = False
        self._failure = failure

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        if payload.get("error"):
            raise self._failure(payload)
        _append(payload.get("response"), out)
        if payload["done"] is True:
            self.finished = self.complete = True
            reason = payload.get("done_reason") or "stop"
            out.append(Finish(FINISH_REASONS.get(reason, reason)))
            sent, written = payload.get("prompt_eval_count"), payload.get("eval_count")
            if sent is not None or written is not None:
                out.append(Usage(count(sent), count(written)))

    def flush(self, out: list[Chunk]) -> None:
        """Nothing is ever held back."""


class CompletionReader:
    """OpenAI's completions: `choices[0].text`, a finish reason, usage, `[DONE]`."""

    def __init__(self, failure: Callable[[Payload], AttemptError]) -> None:
        self.finished = self.complete = False
        self._failure = failure

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        if payload.get("error"):
            raise self._failure(payload)
        choices, usage = payload.get("choices"), payload.get("usage")
        if choices is None and usage is None:
            raise BadChunk("a line of the answer has neither choices nor usage")
        for choice in (choices or ())[:1]:
            _append(choice.get("text"), out)
            if reason := choice.get("finish_reason"):
                self.finished = True
                out.append(Finish(FINISH_REASONS.get(reason, reason)))
        if usage:
            out.append(openai_usage(usage))

    def flush(self, out: list[Chunk]) -> None:
        """Nothing is ever held back."""


def _append(text: object, out: list[Chunk]) -> None:
    if text is None or text == "":
        return
    if type(text) is not str:
        raise BadChunk(f"a delta of the answer is a {type(text).__name__}, not text")
    out.append(TextDelta(text))
