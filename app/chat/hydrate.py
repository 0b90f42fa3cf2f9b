"""What a stored conversation brings to a request: its state, its summary, its messages, and which of them matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.chat.records import StoredMessage
from app.context.blocks import Material
from app.context.conversation import RECENT_MESSAGES, SYSTEM_ROLES

MOST_HISTORY = 2_000
"""Messages offered to a request; of a longer session the newest, and of the rest those that bear most on the query."""
NEWEST_OFFERED = 200
UNTRIMMED_CHARACTERS = 1.5
"""A token of a model's window: what is shorter fits it whole, at a cautious three characters a token and with half the
window left for the answer and all else. Ranking costs an embedding (3 ms), and nothing is left out of what fits."""


def worth_ranking(messages: Sequence[StoredMessage], beside: int, smallest_window: int) -> bool:
    """Whether some of the messages may have to go for some model: then they should go by relevance.

    `beside`: characters of what the request brings itself; `smallest_window`: in tokens, of the models there are.
    """
    room = UNTRIMMED_CHARACTERS * smallest_window - beside
    for stored in messages[:-RECENT_MESSAGES]:
        room -= len(stored.message.get("content") or "")
        if room < 0:
            return True
    return False


def own_characters(material: Material) -> int:
    """About how much text a request brings beside its session."""
    file = material.file.text if material.file else ""
    chunks = sum(len(chunk.text) for chunk in material.chunks)
    asked = sum(len(message.get("content") or "") for message in material.messages)
    return len(file) + len(material.stacktrace or "") + len(material.system_prompt or "") + chunks + asked


@dataclass(frozen=True, slots=True)
class Offered:
    """What a session offers to a request: messages in order, their scores, and the `seq` of each."""

    history: tuple[Mapping[str, Any], ...]
    scores: tuple[float | None, ...]
    seqs: Sequence[int]

    def up_to(self, seq: int) -> int:
        """How many of the messages, instructions not counted, are no newer than `seq`."""
        pairs = zip(self.seqs, self.history, strict=True)
        return sum(1 for at, message in pairs if at <= seq and message.get("role") not in SYSTEM_ROLES)


def offered(messages: Sequence[Mapping[str, Any]], scores: Sequence[float | None]) -> Offered:
    """The messages of a session, from the first; at most about `MOST_HISTORY` of them."""
    ready = well_formed(messages)
    if len(ready) <= MOST_HISTORY:
        return Offered(tuple(ready), tuple(scores), range(len(ready)))
    split = len(ready) - NEWEST_OFFERED
    ranked = sorted(range(split), key=lambda i: (-_score(scores, i), -i))
    best = set(ranked[: MOST_HISTORY - NEWEST_OFFERED])
    best |= {i for i in range(split) if ready[i].get("role") in SYSTEM_ROLES}
    kept = [*sorted(_with_their_results(ready, best)), *range(split, len(ready))]
    return Offered(tuple(ready[i] for i in kept), tuple(scores[i] for i in kept) if scores else (), tuple(kept))


def _score(scores: Sequence[float | None], index: int) -> float:
    score = scores[index] if index < len(scores) else None
    return float("-inf") if score is None else score


def _with_their_results(messages: Sequence[Mapping[str, Any]], chosen: set[int]) -> set[int]:
    """Tool calls and their results stay together: with one of them all of them (those offered anyway left out)."""
    whole, split = set(chosen), len(messages) - NEWEST_OFFERED
    start = 0
    for index in range(1, len(messages) + 1):
        if index < len(messages) and messages[index].get("role") == "tool":
            continue
        run = range(start, index)
        if len(run) > 1 and (index > split or not whole.isdisjoint(run)):
            whole.update(place for place in run if place < split)
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
