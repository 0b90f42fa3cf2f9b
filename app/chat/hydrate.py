"""What a stored conversation brings to a request: its state, its summary, its messages, and which of them matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.chat.conversation import Conversation
from app.context.conversation import RECENT_MESSAGES, SYSTEM_ROLES

MOST_HISTORY = 2_000
"""Messages offered to a request; of a longer session the newest, and of the rest those that bear most on the query."""
NEWEST_OFFERED = 200
LEAST_RANKED = 4_000
"""Characters: a conversation shorter than this fits whatever model is asked, and nobody needs to rank it."""


def worth_ranking(conversation: Conversation) -> bool:
    """Whether some of it may have to go: then it should go by relevance."""
    older = conversation.messages[:-RECENT_MESSAGES]
    size = 0
    for stored in older:
        size += len(stored.message.get("content") or "")
        if size > LEAST_RANKED:
            return True
    return False


def offered(
    messages: Sequence[Mapping[str, Any]], scores: Sequence[float | None]
) -> tuple[tuple[Mapping[str, Any], ...], tuple[float | None, ...]]:
    """History and its scores, aligned and in order, at most about `MOST_HISTORY` messages."""
    ready = well_formed(messages)
    if len(ready) <= MOST_HISTORY:
        return tuple(ready), tuple(scores)
    split = len(ready) - NEWEST_OFFERED
    ranked = sorted(range(split), key=lambda i: (-_score(scores, i), -i))
    best = set(ranked[: MOST_HISTORY - NEWEST_OFFERED])
    best |= {i for i in range(split) if ready[i].get("role") in SYSTEM_ROLES}
    best = _with_their_results(ready, best)
    kept = [*sorted(best), *range(split, len(ready))]
    return tuple(ready[i] for i in kept), tuple(scores[i] for i in kept) if scores else ()


def _score(scores: Sequence[float | None], index: int) -> float:
    score = scores[index] if index < len(scores) else None
    return float("-inf") if score is None else score


def _with_their_results(messages: Sequence[Mapping[str, Any]], chosen: set[int]) -> set[int]:
    """Tool calls and their results stay together: with one of them all of them."""
    whole = set(chosen)
    start = 0
    for index in range(1, len(messages) + 1):
        if index < len(messages) and messages[index].get("role") == "tool":
            continue
        if index - start > 1 and not whole.isdisjoint(range(start, index)):
            whole.update(range(start, index))
        start = index
    return whole


def well_formed(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same messages, one for one; a tool call without all its results, or a result without its call, as plain text.

    Providers refuse a conversation in which one of the two is missing, and an answer that was cut, or an import, can
    leave it so.
    """
    ready: list[Mapping[str, Any]] = list(messages)
    index = 0
    while index < len(ready):
        end = index + 1
        while end < len(ready) and ready[end].get("role") == "tool":
            end += 1
        _mend(ready, index, end)
        index = end
    return ready


def _mend(messages: list[Mapping[str, Any]], start: int, end: int) -> None:
    """One message and the tool results that follow it."""
    first = messages[start]
    called = [str(call.get("id")) for call in first.get("tool_calls") or ()]
    answered = [str(message.get("tool_call_id")) for message in messages[start + 1 : end]]
    if sorted(called) == sorted(answered) and first.get("role") != "tool":
        return
    if called:
        messages[start] = {"role": "assistant", "content": _called_text(first)}
    for at in range(start if first.get("role") == "tool" else start + 1, end):
        messages[at] = {"role": "user", "content": f"[result of a tool]\n{messages[at].get('content') or ''}"}


def _called_text(message: Mapping[str, Any]) -> str:
    said = message.get("content")
    functions = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    lines = [said] if isinstance(said, str) and said else []
    return "\n".join([*lines, *(f"[called {f.get('name')}({f.get('arguments') or ''})]" for f in functions)])
