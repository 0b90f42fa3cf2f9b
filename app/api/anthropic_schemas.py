"""The bodies of Anthropic's Messages API, as far as they mean something here, and the same in the program's words.

https://docs.anthropic.com/en/api/messages and /messages-count-tokens
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from app.api.foreign import Aim, Echoed, Foreign, Metadata, ModelName, OutputLimit, Share, StopText
from app.api.json_text import dumps
from app.api.schemas import JsonObject, Shown
from app.chat.service import ChatRequest

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


class Text(Echoed):
    type: Literal["text"]
    text: str


class Base64Image(Echoed):
    type: Literal["base64"]
    media_type: Annotated[str, Field(pattern=r"^image/[a-z0-9.+-]{1,40}$")]
    data: Annotated[str, Field(min_length=1)]


class LinkedImage(Echoed):
    type: Literal["url"]
    url: Annotated[str, Field(min_length=1)]


class Image(Echoed):
    type: Literal["image"]
    source: Annotated[Base64Image | LinkedImage, Field(discriminator="type")]

    def plain(self) -> JsonObject:
        source = self.source
        url = source.url if isinstance(source, LinkedImage) else f"data:{source.media_type};base64,{source.data}"
        return {"type": "image_url", "image_url": {"url": url}}


class ToolUse(Echoed):
    type: Literal["tool_use"]
    id: Shown
    name: Shown
    input: JsonObject = Field(default_factory=dict)

    def plain(self) -> JsonObject:
        arguments = dumps(self.input).decode()
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


class ToolResult(Echoed):
    type: Literal["tool_result"]
    tool_use_id: Shown
    content: str | Annotated[list[Annotated[Text | Image, Field(discriminator="type")]], Field(max_length=256)] = ""
    is_error: bool | None = None

    def plain(self) -> JsonObject:
        content = self.content
        text = content if isinstance(content, str) else "\n".join(p.text for p in content if isinstance(p, Text))
        return {
            "role": "tool",
            "tool_call_id": self.tool_use_id,
            "content": f"Error: {text}" if self.is_error else text,
        }

    def images(self) -> list[JsonObject]:
        """A message of a tool holds text alone; what it showed goes beside."""
        return [] if isinstance(self.content, str) else [p.plain() for p in self.content if isinstance(p, Image)]


class Thought(Echoed):
    """What a model thought aloud comes back from clients; it is not sent on: a signature binds it to its maker."""

    type: Literal["thinking", "redacted_thinking"]


Block: TypeAlias = Annotated[Text | Image | ToolUse | ToolResult | Thought, Field(discriminator="type")]


class Message(Echoed):
    role: Literal["user", "assistant", "system"]
    content: str | Annotated[list[Block], Field(max_length=1024)]

    @model_validator(mode="after")
    def _fits_its_role(self) -> Message:
        blocks = () if isinstance(self.content, str) else self.content
        wrong = ToolUse if self.role == "user" else ToolResult
        if any(isinstance(block, wrong) for block in blocks):
            raise ValueError("tool_use belongs to the assistant, tool_result to the user")
        return self

    def plain(self) -> Iterator[JsonObject]:
        """The messages this one stands for: each tool result is one of its own, before what the user says."""
        if isinstance(self.content, str):
            yield {"role": self.role, "content": self.content}
            return
        results = [block for block in self.content if isinstance(block, ToolResult)]
        yield from (result.plain() for result in results)
        calls = [block.plain() for block in self.content if isinstance(block, ToolUse)]
        parts = [image for result in results for image in result.images()]
        parts += [
            {"type": "text", "text": block.text} if isinstance(block, Text) else block.plain()
            for block in self.content
            if isinstance(block, Text | Image)
        ]
        if calls:
            yield {"role": self.role, "tool_calls": calls, **({"content": _joined(parts)} if parts else {})}
        elif parts or not results:
            yield {"role": self.role, "content": _joined(parts)}


def _joined(parts: list[JsonObject]) -> str | list[JsonObject]:
    """Text alone as one text: not every server takes parts."""
    return parts if any(p["type"] != "text" for p in parts) else "\n\n".join(p["text"] for p in parts)


class Tool(Echoed):
    type: Literal["custom"] | None = None
    name: Name
    description: str | None = None
    input_schema: JsonObject
    strict: bool | None = None

    def plain(self) -> JsonObject:
        function: JsonObject = {"name": self.name, "description": self.description, "parameters": self.input_schema}
        function["strict"] = self.strict
        return {"type": "function", "function": {name: v for name, v in function.items() if v is not None}}


class ToolChoice(Echoed):
    type: Literal["auto", "any", "tool", "none"]
    name: Shown | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> ToolChoice:
        if (self.type == "tool") != (self.name is not None):
            raise ValueError("name belongs to the type tool, and is required there")
        return self

    def plain(self) -> str | JsonObject:
        if self.type == "tool":
            return {"type": "function", "function": {"name": self.name}}
        return "required" if self.type == "any" else self.type


class Format(Echoed):
    type: Literal["json_schema"]
    schema_: JsonObject = Field(alias="schema")


class OutputConfig(Echoed):
    format: Format | None = None


class Thinking(Echoed):
    type: Literal["enabled", "disabled", "adaptive"]


class CountBody(Foreign):
    """Anthropic's token counting: a message that is not sent."""

    model: ModelName
    messages: Annotated[list[Message], Field(min_length=1, max_length=20_000)]
    system: str | Annotated[list[Text], Field(max_length=256)] | None = None
    tools: Annotated[list[Tool], Field(max_length=256)] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    thinking: Thinking | None = Field(None, description="Not sent on; what a model thinks aloud is shown if it is on.")
    cache_control: JsonObject | None = Field(None, description="Passed over.")

    @model_validator(mode="after")
    def _has_tools(self) -> CountBody:
        if self.tool_choice is not None and self.tool_choice.type in ("any", "tool") and not self.tools:
            raise ValueError("tool_choice needs tools")
        return self

    @property
    def shows_thinking(self) -> bool:
        return self.thinking is not None and self.thinking.type != "disabled"

    def to_request(self, request_id: str, aim: Aim) -> ChatRequest:
        return ChatRequest(
            request_id=request_id,
            messages=tuple(self._messages()),
            workspace=aim.workspace,
            task_type=aim.task_type,
            model=aim.model,
            rule=aim.rule,
            response_format=self._format(),
            tools=tuple(tool.plain() for tool in self.tools or ()),
            tool_choice=self.tool_choice.plain() if self.tool_choice and self.tools else None,
        )

    def _messages(self) -> Iterator[Mapping[str, Any]]:
        if self.system:
            text = self.system if isinstance(self.system, str) else "\n\n".join(block.text for block in self.system)
            yield {"role": "system", "content": text}
        for message in self.messages:
            yield from message.plain()

    def _format(self) -> JsonObject | None:
        if self.output_config is None or self.output_config.format is None:
            return None
        schema = {"name": "answer", "schema": self.output_config.format.schema_, "strict": True}
        return {"type": "json_schema", "json_schema": schema}


class AnthropicBody(CountBody):
    """Anthropic's message."""

    max_tokens: OutputLimit
    stream: bool | None = None
    stop_sequences: Annotated[list[StopText], Field(max_length=8)] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: int | None = Field(None, description="Passed over; `params` of a model may set it.")
    metadata: Metadata | None = Field(
        None, description="Rules may ask for `metadata.<key>`; `workspace` and `task_type` count like their headers."
    )
    service_tier: str | None = Field(None, description="Passed over.")
    context_management: JsonObject | None = Field(None, description="Passed over.")
    inference_geo: str | None = Field(None, description="Passed over: the workspace's policy says where.")

    def to_request(self, request_id: str, aim: Aim) -> ChatRequest:
        parallel = self.tool_choice is not None and self.tool_choice.disable_parallel_tool_use
        sampling: JsonObject = {"top_p": self.top_p, "parallel_tool_calls": False if parallel and self.tools else None}
        return replace(
            super().to_request(request_id, aim),
            max_output_tokens=self.max_tokens,
            temperature=self.temperature,
            stop=tuple(self.stop_sequences or ()),
            sampling={name: value for name, value in sampling.items() if value is not None},
            metadata=self.metadata or {},
        )


BODIES = (AnthropicBody, CountBody)
