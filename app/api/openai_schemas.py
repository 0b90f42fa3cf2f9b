"""The bodies of OpenAI's API, as far as they mean something here; what cannot be done is refused by its name.

https://platform.openai.com/docs/api-reference/chat/create and /completions/create and /embeddings/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from app.api.foreign import (
    Aim,
    Echoed,
    Foreign,
    Metadata,
    ModelName,
    OutputLimit,
    Seed,
    Share,
    StopText,
    Temperature,
)
from app.api.schemas import ImageUrl, JsonObject, NamedTool, ResponseFormat, Shown
from app.chat.service import ChatRequest
from app.context.gap import Gap
from app.llm.filling import read_marks
from app.memory.embedder import DIMENSIONS


def _only(allowed: object, why: str) -> AfterValidator:
    """Takes null and `allowed`; refuses everything else with the reason."""

    def check(value: Any) -> Any:
        if value not in (None, allowed):
            raise ValueError(why)
        return value

    return AfterValidator(check)


MOST_STOPS = 64
"""OpenAI takes 4; editors send the marks of a dozen model families, and local servers take them all."""
One = Annotated[int | None, _only(1, "must be 1: one answer is made for each request")]
NoProbabilities = Annotated[bool | None, _only(False, "must be false: no probabilities are given")]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stops = StopText | Annotated[list[StopText], Field(max_length=MOST_STOPS)]

DEFAULT_TOKENS = 256
"""Of a completion that names no limit: a model that completes text seldom ends by itself. (OpenAI's is 16.)"""
PASSED_ON = (
    *("top_p", "seed", "presence_penalty", "frequency_penalty", "logit_bias"),
    *("reasoning_effort", "parallel_tool_calls"),
)
"""Go to the provider where it knows them."""


class Text(Echoed):
    type: Literal["text"]
    text: str


class Refusal(Echoed):
    type: Literal["refusal"]
    refusal: str


class Image(Echoed):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[Text | Image | Refusal, Field(discriminator="type")]
Content: TypeAlias = str | Annotated[list[Part], Field(max_length=256)] | None


class CalledFunction(Echoed):
    name: Shown
    arguments: str = ""


class ToolCall(Echoed):
    id: Shown
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Echoed):
    """A message of any role. What an answer of ours or of others holds beside these is passed over."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    name: Annotated[str, Field(max_length=128)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: Shown | None = None

    @model_validator(mode="after")
    def _complete(self) -> Message:
        if self.content is None and self.role != "assistant":
            raise ValueError("content is required")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only a message of the assistant has tool_calls")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message with the role tool needs its tool_call_id")
        return self

    def plain(self) -> JsonObject:
        """The message as the rest of the program knows messages."""
        message: JsonObject = {"role": self.role, "content": self._content()}
        if self.name:
            message["name"] = self.name
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
            if not message["content"]:
                del message["content"]
        if self.role == "tool":
            message["tool_call_id"] = self.tool_call_id
        return message

    def _content(self) -> str | list[JsonObject]:
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        parts = [
            {"type": "text", "text": part.refusal} if isinstance(part, Refusal) else part.model_dump(exclude_none=True)
            for part in self.content
        ]
        if all(part["type"] == "text" for part in parts):
            return "\n".join(part["text"] for part in parts)
        return parts


class Function(Echoed):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(Echoed):
    type: Literal["function"]
    function: Function


class StreamOptions(Echoed):
    include_usage: bool | None = None


class OneAnswer(Foreign):
    """What a chat and a completion share. Members that change nothing here are taken and passed over."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: OutputLimit | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    seed: Seed | None = None
    stop: Stops | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=1024)] | None = None
    n: One = None
    user: str | None = Field(None, description="Passed over.")
    metadata: Metadata | None = Field(
        None, description="Rules may ask for `metadata.<key>`; `workspace` and `task_type` count like their headers."
    )

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self) -> JsonObject:
        """What goes to the provider where it knows it."""
        found = {name: getattr(self, name, None) for name in PASSED_ON}
        return {name: value for name, value in found.items() if value is not None}


class ChatCompletionBody(OneAnswer):
    """OpenAI's chat completion."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=20_000)]
    max_completion_tokens: OutputLimit | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=256)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Annotated[str, Field(max_length=32)] | None = None
    logprobs: NoProbabilities = None
    modalities: list[Literal["text"]] | None = None
    store: bool | None = Field(None, description="Passed over: nothing is stored but usage.")
    service_tier: str | None = Field(None, description="Passed over.")
    safety_identifier: str | None = Field(None, description="Passed over.")
    prompt_cache_key: str | None = Field(None, description="Passed over.")
    prompt_cache_retention: str | None = Field(None, description="Passed over.")
    verbosity: str | None = Field(None, description="Passed over.")
    prediction: JsonObject | None = Field(None, description="Passed over: it only ever makes an answer faster.")

    @model_validator(mode="after")
    def _supported(self) -> ChatCompletionBody:
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("tool_choice needs tools")
        return self

    def to_request(self, request_id: str, aim: Aim) -> ChatRequest:
        return ChatRequest(
            request_id=request_id,
            messages=tuple(message.plain() for message in self.messages),
            workspace=aim.workspace,
            task_type=aim.task_type,
            model=aim.model,
            rule=aim.rule,
            max_output_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            stop=self.stops,
            response_format=self._format(),
            tools=tuple(tool.model_dump(exclude_none=True) for tool in self.tools or ()),
            tool_choice=self.tool_choice.model_dump() if isinstance(self.tool_choice, NamedTool) else self.tool_choice,
            sampling=self.sampling(),
            metadata=self.metadata or {},
        )

    def _format(self) -> JsonObject | None:
        shape = self.response_format
        return None if shape is None or shape.type == "text" else shape.model_dump(exclude_none=True)


class CompletionBody(OneAnswer):
    """OpenAI's older completion: a text to go on with, and with `suffix` a gap to fill."""

    prompt: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1, max_length=1)]
    suffix: str | None = Field(None, description="What follows the gap; the answer fills it.")
    echo: Annotated[bool | None, _only(False, "must be false: the answer is what follows the prompt")] = None
    best_of: One = None
    logprobs: Annotated[int | None, _only(0, "must be 0: no probabilities are given")] = None

    @property
    def gap(self) -> Gap:
        """What to fill. An editor that has put a family's marks round its text itself is understood, so that the rules
        may choose a model of another family."""
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        return Gap(prompt, self.suffix) if self.suffix is not None else read_marks(prompt) or Gap(prompt)

    def to_request(self, request_id: str, aim: Aim) -> ChatRequest:
        gap = self.gap
        return ChatRequest(
            request_id=request_id,
            messages=({"role": "user", "content": gap.prefix + (gap.suffix or "")},),
            workspace=aim.workspace,
            task_type=aim.task_type,
            model=aim.model,
            rule=aim.rule,
            max_output_tokens=self.max_tokens or DEFAULT_TOKENS,
            temperature=self.temperature,
            stop=self.stops,
            sampling=self.sampling(),
            metadata=self.metadata or {},
            gap=gap,
        )


class EmbeddingBody(Foreign):
    """OpenAI's embeddings. Made on this machine whatever the model's name."""

    model: ModelName
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)] = Field(
        description="One text or several; token numbers are not taken, the tokenizers differ."
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int | None, _only(DIMENSIONS, f"must be {DIMENSIONS}, which the local model makes")] = None
    user: str | None = Field(None, description="Passed over.")

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


BODIES: tuple[type[Any], ...] = (ChatCompletionBody, CompletionBody, EmbeddingBody)
