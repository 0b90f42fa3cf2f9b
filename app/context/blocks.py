"""A block: one piece of context with a kind, a priority and a token cost. And `Material`: what a request offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TypeAlias

SHORTENING_IS_LOSS = 0.25
"""Elastic priority-2 blocks (an open file, a stack trace) are made to shrink; beyond this share it counts as loss."""


class Priority(IntEnum):
    """1 is never trimmed, 2 is trimmed last, 3 first."""

    NEVER_TRIM = 1
    TRIM_LAST = 2
    TRIM_FIRST = 3


class Outcome(StrEnum):
    KEPT = "kept"
    SHORTENED = "shortened"
    SUMMARISED = "summarised"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class CodeChunk:
    """A retrieved or supplied piece of a file. Lines are 1-based and inclusive."""

    text: str
    path: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    similarity: float | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class EntityNote:
    """An entity of the knowledge graph; `hops` from what the request is about."""

    name: str
    kind: str | None = None
    summary: str | None = None
    hops: int = 1


@dataclass(frozen=True, slots=True)
class OpenFile:
    """The file being worked on; `line` (1-based) is where the cursor is."""

    text: str
    path: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """All a request offers to the model, before anything is trimmed.

    `messages` are the request's own (OpenAI shape) and end with the query; `history` is what came before them.
    """

    messages: Sequence[Mapping[str, Any]]
    system_prompt: str | None = None
    session_state: Mapping[str, Any] | str | None = None
    summary: str | None = None
    history: Sequence[Mapping[str, Any]] = ()
    chunks: Sequence[CodeChunk] = ()
    entities: Sequence[EntityNote] = ()
    file: OpenFile | None = None
    stacktrace: str | None = None
    tools: Sequence[Mapping[str, Any]] = field(default=())
    history_scores: Sequence[float | None] = ()
    """How much each message of `history` bears on the query (any scale, higher is more); None or absent: by age."""
    summarised: int = 0
    """How many of the oldest messages of `history` the `summary` stands for: leaving them out loses nothing."""


class Kind(StrEnum):
    """What a block is. The order is that of the prompt."""

    TOOLS = "tools"
    SYSTEM = "system"
    SESSION_STATE = "session_state"
    ENTITY = "entity"
    SUMMARY = "summary"
    HISTORY = "history"
    FAR_ENTITY = "far_entity"
    CHUNK = "chunk"
    FILE = "file"
    STACKTRACE = "stacktrace"
    QUERY = "query"


Message: TypeAlias = Mapping[str, Any]
"""A chat message in OpenAI's shape."""


class ContextBlock(NamedTuple):
    """One piece of context, whole and in shorter variants; what each costs depends on the tokenizer (`Prepared`).

    A block is either text (`texts`: as it will stand in the prompt, fence included) or a run of messages that must stay
    together (`turns`). Both list the whole first and then ever shorter variants. `position` orders blocks of one kind
    in the prompt; which of one priority goes in first is said by the order of `Prepared.blocks`.
    """

    id: str
    kind: Kind
    priority: Priority
    position: int = 0
    texts: tuple[str, ...] = ()
    turns: tuple[tuple[Message, ...], ...] = ()
    includes: str | None = None
    """Id of the block whose text every variant of this one contains, and which it therefore replaces in the prompt."""


class BlockOutcome(NamedTuple):
    """What became of one block: the rows of a `context` event. No text.

    A tuple, as are others of which a request makes hundreds: it is made in a third of a frozen dataclass's time.
    """

    id: str
    kind: str
    priority: int
    tokens: int
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """The built result: the messages to send to one model, and what was kept, shortened, summarised, dropped."""

    model: str
    window: int
    input_tokens: int
    reserved_output: int
    messages: tuple[Mapping[str, Any], ...]
    blocks: tuple[BlockOutcome, ...]
    upgraded_from: str | None = None
    notes: tuple[str, ...] = ()
    """Denied upgrades, a summary that failed, and the like, as sentences."""
    priority_2_lost: float = 0.0
    """The share of priority-2 tokens that was dropped or cut off elastic blocks: 0 to 1."""

    @property
    def loses_priority_2(self) -> bool:
        """True where a larger model is worth asking: a block is gone, or elastic ones lost `SHORTENING_IS_LOSS`."""
        dropped = any(b.priority == Priority.TRIM_LAST and b.outcome is Outcome.DROPPED for b in self.blocks)
        return dropped or self.priority_2_lost > SHORTENING_IS_LOSS
