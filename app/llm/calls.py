"""What goes to a model and what comes back, in the words of no provider."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from app.context.blocks import Material
from app.context.gap import Gap
from app.routing.catalog import ModelSpec
from app.usage.records import Parent

Message: TypeAlias = Mapping[str, Any]
"""A chat message in OpenAI's shape: role, content (text or parts), tool_calls, tool_call_id, name."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call to one model."""

    model: ModelSpec
    messages: tuple[Message, ...]
    local_only: bool
    """True: only in-process, loopback and trusted addresses may be connected to, whatever `model` says."""
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Further parameters of the request in OpenAI's words (`top_p`, `seed`, …); dropped where a provider has none."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Provider parameters of the model's and the rule's configuration; the rule's win."""
    gap: Gap | None = None
    """An inline completion: what to fill. `messages` then ask for the same in words."""
    request_id: str = ""
    task_type: str = "chat"
    """What the built-in model goes by when it decides between answering and summarising."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Part of the answer's text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Part of what the model thinks aloud; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Part of a tool call. `id` and `name` come with the first part, `arguments` is appended."""

    index: int
    id: str | None
    name: str | None
    arguments: str


def new_call_id() -> str:
    """An id for a tool call that came without one, as Ollama's do. Clients keep the results of a whole conversation by
    these, so that a number within the answer would not do."""
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider's own end mark: stop, length, tool_calls, content_filter. Never invented."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider reports them; None where it did not say.

    `input_tokens` includes the cached and the written ones, `output_tokens` the reasoning ones.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


def child_id(parent: Parent | None) -> str:
    """An id for a request that is made for another. An agent's requests are named after its run, and what the run
    cost is read off them: what is made for them is part of it."""
    fresh = uuid.uuid4().hex
    return f"{parent.request_id}.{fresh[:8]}" if parent is not None and parent.agent is not None else fresh


Chunk: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | Finish | Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What every caller of `ModelRouter` sends: chat, agents, the summariser, other people's clients alike."""

    request_id: str
    workspace: str
    task_type: str
    material: Material
    contains_code: bool | None = None
    """None: detected from the material."""
    wish: str | None = None
    """The model the caller asked for; goes in front of the rule's chain, still under the policy."""
    rule: str | None = None
    """The rule the caller asked for by name; None: the first that matches."""
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    gap: Gap | None = None
    """An inline completion; `material` then holds the same text, for the facts rules go by."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    agent: str | None = None
    parent: Parent | None = None
    """The request that this one is made for: its budgets pay. None: made for itself."""
    ranking: Awaitable[Sequence[float | None]] | None = None
    """`Material.history_scores`, still being computed: awaited when all that does not depend on them is done."""
    session_id: str | None = None
    session_private: bool = False
    warnings: tuple[str, ...] = ()
    """What the caller already knows went short (late retrieval, say); repeated in `done`."""
    person_waits: bool = False
    """True: somebody waits for this though an agent asks (a summary within a request). Without an agent somebody
    always does."""
    one_try: bool = False
    """True: the first candidate is asked once; no retry, no other candidate. For what has a remedy of its own."""
    queued: Callable[[bool], None] | None = field(default=None, compare=False)
    """Told True when the request begins to wait behind others for its slot, and False when the wait is over."""

    @property
    def as_parent(self) -> Parent:
        """What a request that is made for this one carries."""
        return Parent(self.request_id, self.agent, self.task_type)

    @property
    def interactive(self) -> bool:
        """Whether a person waits: people are served before agents."""
        return self.agent is None or self.person_waits
