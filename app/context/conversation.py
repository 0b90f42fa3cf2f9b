"""Messages -> blocks: the query, what follows it, the newest five, and older ones; tool calls with their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from app.context.blocks import ContextBlock, Kind, Message, Priority
from app.context.trim import shorten_prose

RECENT_MESSAGES = 5
"""The seed's "most recent chat messages (last 5)"."""
LONG_MESSAGE = 2_400
"""Characters; an older message longer than this has a shorter variant of a third of it."""
SYSTEM_ROLES = frozenset({"system", "developer"})


class Turn(NamedTuple):
    """Messages that must stay together: one message, or an assistant's tool calls with all their results."""

    id: str
    messages: tuple[Message, ...]
    score: float | None = None


def turns_of(messages: Sequence[Message], prefix: str, scores: Sequence[float | None] = ()) -> list[Turn]:
    """Group messages; ids are `prefix:i` with the index of a turn's first message."""
    turns: list[Turn] = []
    start = 0
    for index in range(1, len(messages) + 1):
        if index < len(messages) and messages[index].get("role") == "tool":
            continue  # a result belongs to the call before it
        known = [score for score in scores[start:index] if score is not None] if scores else None
        turns.append(Turn(f"{prefix}:{start}", tuple(messages[start:index]), max(known) if known else None))
        start = index
    return turns


@dataclass(frozen=True, slots=True)
class Conversation:
    """The request's messages and history, sorted by what they are. All in chronological order."""

    system: tuple[Message, ...]
    earlier: tuple[Turn, ...]
    query: Turn | None
    steps: tuple[Turn, ...]
    """What followed the query: tool calls and results, or the beginning of an answer."""


def read_conversation(
    messages: Sequence[Message], history: Sequence[Message], scores: Sequence[float | None] = ()
) -> Conversation:
    """The last user message is the query; without one, the last turn is."""
    system = tuple(m for m in (*history, *messages) if m.get("role") in SYSTEM_ROLES)
    before = _without_system(history)
    before_scores = [s for m, s in zip(history, scores, strict=False) if m.get("role") not in SYSTEM_ROLES]
    own = _without_system(messages)
    earlier = turns_of(before, "history", before_scores)
    turns = turns_of(own, "message")
    at = max((i for i, turn in enumerate(turns) if turn.messages[0].get("role") == "user"), default=len(turns) - 1)
    if at < 0:
        return Conversation(system, tuple(earlier), None, ())
    return Conversation(system, (*earlier, *turns[:at]), turns[at], tuple(turns[at + 1 :]))


def _without_system(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if message.get("role") not in SYSTEM_ROLES]


@dataclass(frozen=True, slots=True)
class ConversationBlocks:
    """Blocks by priority, each list best first. `newest` is the last exchange before the query."""

    never: tuple[ContextBlock, ...]
    newest: tuple[ContextBlock, ...]
    recent: tuple[ContextBlock, ...]
    older: tuple[ContextBlock, ...]


def conversation_blocks(conversation: Conversation) -> ConversationBlocks:
    """Never trimmed: the query and the last step. Priority 2: other steps and the last five messages, newest first.

    Priority 3: older messages, those that bear on the query first where scores are known, else newest first.
    """
    turns = conversation.earlier
    recent_from = _recent_from(turns)
    # Found once, not for each of hundreds: in Python 3.11 finding an enum's member takes as long as making a block.
    history, last, first = Kind.HISTORY, Priority.TRIM_LAST, Priority.TRIM_FIRST
    recent = [_block(turns[i], i, history, last) for i in range(len(turns) - 1, recent_from - 1, -1)]
    by_worth = sorted(range(recent_from - 1, -1, -1), key=lambda i: _score(turns[i]), reverse=True)
    older = [_block(turns[i], i, history, first, _shorter(turns[i].messages)) for i in by_worth]
    never, steps = _query_blocks(conversation)
    return ConversationBlocks(tuple(never), (*steps, *recent[:2]), tuple(recent[2:]), tuple(older))


def by_relevance(
    blocks: Sequence[ContextBlock], talk: Sequence[ContextBlock], scores: Sequence[float | None]
) -> tuple[ContextBlock, ...]:
    """The same blocks, the older messages among them in a new order of theirs: for scores that come after gathering.

    `talk`: those of them that are messages before the query, oldest first; `scores`: one per message, instructions not
    counted; shorter ones leave the newest unknown.
    """
    least, trim_first = float("-inf"), Priority.TRIM_FIRST
    older: list[tuple[float, ContextBlock]] = []
    start = 0
    for block in talk:
        end = start + len(block.turns[0])
        if block.priority == trim_first:
            known = [score for score in scores[start:end] if score is not None]
            older.append((max(known) if known else least, block))
        start = end
    older.reverse()  # among equals the newer one first: sorting leaves them as they are
    older.sort(key=itemgetter(0), reverse=True)
    ids, best = {block.id for _, block in older}, iter(older)
    return tuple(next(best)[1] if block.id in ids else block for block in blocks)


def _query_blocks(conversation: Conversation) -> tuple[list[ContextBlock], list[ContextBlock]]:
    if conversation.query is None:
        return [], []
    query = Turn("query", conversation.query.messages)
    never = [_block(query, 0, Kind.QUERY, Priority.NEVER_TRIM)]
    steps = conversation.steps
    if steps:
        never.append(_block(steps[-1], len(steps), Kind.QUERY, Priority.NEVER_TRIM))
    others = [_block(steps[i], i + 1, Kind.QUERY, Priority.TRIM_LAST) for i in range(len(steps) - 2, -1, -1)]
    return never, others


def _recent_from(turns: Sequence[Turn]) -> int:
    """Index of the first turn that holds one of the last five messages."""
    seen, index = 0, len(turns)
    while index > 0 and seen < RECENT_MESSAGES:
        index -= 1
        seen += len(turns[index].messages)
    return index


_LEAST = float("-inf")


def _score(turn: Turn) -> float:
    return _LEAST if turn.score is None else turn.score


def _block(
    turn: Turn, position: int, kind: Kind, priority: Priority, shorter: tuple[Message, ...] | None = None
) -> ContextBlock:
    variants = (turn.messages,) if shorter is None else (turn.messages, shorter)
    return ContextBlock(turn.id, kind, priority, position, (), variants)


def _shorter(messages: tuple[Message, ...]) -> tuple[Message, ...] | None:
    """A long text cut in its middle; only a lone plain message, never a tool call or its result."""
    message: Mapping[str, Any] = messages[0]
    content = message.get("content")
    if len(messages) > 1 or not isinstance(content, str) or len(content) <= LONG_MESSAGE or message.get("tool_calls"):
        return None
    return ({**message, "content": shorten_prose(content, LONG_MESSAGE // 3)},)
