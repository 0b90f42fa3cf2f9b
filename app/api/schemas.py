"""What may be sent: the bodies of `/chat` and `/explain`. Unknown fields are refused, so nobody can slip in an address
or a key (`api_base`, `base_url`, `api_key`); numbers must be JSON numbers; every list has a cap."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.api.problems import from_validation
from app.chat.service import ChatRequest
from app.context.blocks import CodeChunk, EntityNote, OpenFile
from app.errors import InvalidRequest

ID_REGEX = r"^[A-Za-z0-9_.:-]{1,128}$"

Id = Annotated[str, Field(pattern=ID_REGEX)]
TaskType = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
Line = Annotated[int, Field(ge=1, le=2**31 - 1)]
StopText = Annotated[str, Field(min_length=1, max_length=512)]
JsonObject: TypeAlias = dict[str, Any]
Shown = Annotated[str, Field(min_length=1, max_length=4096)]

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """Base of what is sent to us. Strict: the string "1" is not the number 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class TextPart(Body):
    type: Literal["text"]
    text: str


class ImageUrl(Body):
    url: str = Field(min_length=1, description="A `data:` URL, or an http(s) URL that a cloud provider fetches itself.")
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Body):
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class CalledFunction(Body):
    name: Shown
    arguments: str = Field(description="JSON text.")


class ToolCall(Body):
    id: Shown
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Body):
    """A message in OpenAI's shape."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Part], Field(min_length=1, max_length=256)] | None = Field(
        None, description="Text, or a list of text and image parts. May be absent beside `tool_calls`."
    )
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=128)] | None = None
    tool_call_id: Shown | None = None

    @model_validator(mode="after")
    def _complete(self) -> ChatMessage:
        if self.content is None and not self.tool_calls:
            raise ValueError("content is required, unless the message has tool_calls")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only a message of the assistant has tool_calls")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("tool_call_id belongs to a message with the role tool, and is required there")
        return self


class HistoryMessage(Body):
    role: Literal["user", "assistant", "system"]
    content: str


class Chunk(Body):
    """A piece of a file. Lines are 1-based and inclusive."""

    text: str
    path: Shown | None = None
    start_line: Line | None = None
    end_line: Line | None = None
    similarity: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        None, description="How well it fits the query, 1 best; decides which chunks stay when not all fit."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Chunk:
        if self.start_line and self.end_line and self.end_line < self.start_line:
            raise ValueError("end_line must not be before start_line")
        return self


class Entity(Body):
    """Something the workspace knows about; `hops` from what the request is about."""

    name: Shown
    kind: Shown | None = None
    summary: str | None = None
    hops: Annotated[int, Field(ge=0, le=100)] = 1


class File(Body):
    """The file being worked on; `line` (1-based) is where the cursor is."""

    text: str
    path: Shown | None = None
    line: Line | None = None


class Context(Body):
    """What the model may see beside the query; trimmed to its window by priority."""

    session_state: JsonObject | str | None = None
    chunks: Annotated[list[Chunk], Field(max_length=2_000)] = []
    history: Annotated[list[HistoryMessage], Field(max_length=20_000)] = []
    entities: Annotated[list[Entity], Field(max_length=2_000)] = []
    file: File | None = None
    stacktrace: str | None = None


class ResponseFormat(Body):
    """`json_schema` needs the member of that name, as in OpenAI's API."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonObject | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema, and is required there")
        return self


class Function(Body):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
    description: str | None = None
    parameters: JsonObject | None = Field(None, description="A JSON schema.")
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: Shown


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class ChatBody(Body):
    """A question, or a conversation, and what it may use."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "Why does this loop never end?", "task_type": "debugging", "workspace": "work"},
                {
                    "query": "Summarise the open file.",
                    "context": {"file": {"path": "notes.md", "text": "# Notes\n…", "line": 1}},
                    "max_output_tokens": 400,
                    "stream": False,
                },
            ]
        }
    )

    query: Annotated[str, Field(min_length=1)] | None = Field(None, description="The question. Or give `messages`.")
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=20_000)] | None = Field(
        None, description="The conversation, ending with the question. Or give `query`."
    )
    workspace: Id | None = Field(None, description="A profile's id; the configured default when absent.")
    task_type: TaskType = Field("chat", description="What the request is for; rules go by it.")
    session_id: Id | None = Field(None, description="A stored conversation to continue.")
    contains_code: bool | None = Field(None, description="Detected when absent.")
    context: Context = Context()
    retrieve: bool = Field(False, description="Also look for what fits in the workspace's index.")
    model: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]+$")] | None = Field(
        None, description="A wish: goes in front of the rule's models, still under the workspace's policy."
    )
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Most tokens of the answer."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=8)] | None = Field(
        None, description="A text that ends the answer, or at most 8 of them."
    )
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=256)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    metadata: Annotated[JsonObject, Field(max_length=64)] = Field(
        {}, description="Anything; rules may ask for `metadata.<key>`."
    )
    stream: bool = Field(True, description="Server-Sent Events; false: one JSON object.")
    resumable: bool = Field(
        False, description="Goes on for 30 s after the client left; `GET /chat/{request_id}/events` reads on."
    )

    @model_validator(mode="after")
    def _one_question(self) -> ChatBody:
        if (self.query is None) == (self.messages is None):
            raise ValueError("exactly one of query and messages is required")
        if self.query is not None and not self.query.strip():
            raise ValueError("query must not be blank")
        if self.session_id is not None and (self.messages is not None or self.context.history):
            raise ValueError("messages and context.history cannot go beside a session_id, which brings its own")
        if self.resumable and not self.stream:
            raise ValueError("resumable is for streams; leave it out, or stream")
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("tool_choice needs tools")
        return self

    def to_request(self, request_id: str) -> ChatRequest:
        """The value the chat service takes."""
        context = self.context
        return ChatRequest(
            request_id=request_id,
            messages=self._messages(),
            workspace=self.workspace,
            task_type=self.task_type,
            session_id=self.session_id,
            contains_code=self.contains_code,
            session_state=context.session_state,
            chunks=tuple(CodeChunk(c.text, c.path, c.start_line, c.end_line, c.similarity) for c in context.chunks),
            history=tuple({"role": m.role, "content": m.content} for m in context.history),
            entities=tuple(EntityNote(e.name, e.kind, e.summary, e.hops) for e in context.entities),
            file=OpenFile(context.file.text, context.file.path, context.file.line) if context.file else None,
            stacktrace=context.stacktrace,
            retrieve=self.retrieve,
            model=self.model,
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            response_format=self._response_format(),
            tools=tuple(tool.model_dump(exclude_none=True) for tool in self.tools or ()),
            tool_choice=self._tool_choice(),
            metadata=self.metadata,
        )

    def _messages(self) -> tuple[JsonObject, ...]:
        if self.messages is None:
            return ({"role": "user", "content": self.query},)
        return tuple(message.model_dump(exclude_none=True) for message in self.messages)

    def _response_format(self) -> JsonObject | None:
        """None for plain text, which every model writes: asking for it must not leave anybody out."""
        shape = self.response_format
        return None if shape is None or shape.type == "text" else shape.model_dump(exclude_none=True)

    def _tool_choice(self) -> str | JsonObject | None:
        choice = self.tool_choice
        return choice.model_dump() if isinstance(choice, NamedTool) else choice


class ExplainBody(ChatBody):
    """The same body as a chat's, and no model is called."""

    include_messages: bool = Field(False, description="Also show the messages that would be sent.")


def validated(kind: type[M], value: Any) -> M:
    """`value` as a `kind`. Raises `InvalidRequest` 422 that names each wrong field and what was expected."""
    if not isinstance(value, dict):
        raise InvalidRequest(
            "The body must be a JSON object.", errors=[{"field": "body", "message": "must be a JSON object"}]
        )
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise from_validation(error) from None
