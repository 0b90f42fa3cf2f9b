"""Blocks as chosen -> messages in OpenAI's shape.

The order keeps a stable prefix for the provider's cache: one system message (prompt, session state, direct entities,
summary), the history, and only then what changes with every request: further entities, chunks from weakest to
strongest, the file, the trace, and the query last. No clock or counter in any of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from app.context.blocks import ContextBlock, Kind, Message
from app.context.fence import fenced

ENTITY_LABELS: Mapping[Kind, str] = {Kind.ENTITY: "Known entities:", Kind.FAR_ENTITY: "Related entities:"}
Ordered: TypeAlias = Mapping[Kind, Sequence[ContextBlock]]
"""Blocks by their kind, in the order in which they stand in the prompt."""
_PREFIX = (Kind.SYSTEM, Kind.SESSION_STATE, Kind.ENTITY, Kind.SUMMARY)
_PRELUDE = (Kind.FAR_ENTITY, Kind.CHUNK, Kind.FILE, Kind.STACKTRACE)


def render(blocks: Iterable[ContextBlock], chosen: Mapping[str, int]) -> tuple[Message, ...]:
    """The messages for the chosen variant of each block; blocks that are not in `chosen` leave no trace, except that a
    gap in the history is marked. A message that goes in whole is the caller's own object, unchanged."""
    return render_ordered(in_order(blocks), chosen)


def in_order(blocks: Iterable[ContextBlock]) -> Ordered:
    by_kind: dict[Kind, list[ContextBlock]] = {kind: [] for kind in Kind}
    for block in blocks:
        by_kind[block.kind].append(block)
    for members in by_kind.values():
        members.sort(key=_position)
    return by_kind


def render_ordered(by_kind: Ordered, chosen: Mapping[str, int]) -> tuple[Message, ...]:
    """`render` of blocks whose order in the prompt is known: they are rendered until they fit."""
    system = _joined(by_kind, chosen, _PREFIX)
    prelude = _joined(by_kind, chosen, _PRELUDE)
    history = _turns(by_kind[Kind.HISTORY], chosen)
    query = _turns(by_kind[Kind.QUERY], chosen)
    if prelude:
        query = _with_prelude(prelude, query)
    return (*([{"role": "system", "content": system}] if system else ()), *history, *query)


_position = attrgetter("position")


def _joined(by_kind: Mapping[Kind, Sequence[ContextBlock]], chosen: Mapping[str, int], kinds: Iterable[Kind]) -> str:
    sections: list[str] = []
    for kind in kinds:
        texts = _texts(by_kind[kind], chosen)
        if texts and kind in ENTITY_LABELS:
            sections.append(fenced(ENTITY_LABELS[kind], "".join(texts)))
        else:
            sections += texts
    return "\n".join(section if section.endswith("\n") else section + "\n" for section in sections[:-1]) + (
        ("\n" if len(sections) > 1 else "") + sections[-1] if sections else ""
    )


def _texts(blocks: Sequence[ContextBlock], chosen: Mapping[str, int]) -> list[str]:
    replaced = {block.includes for block in blocks if block.includes and block.id in chosen}
    return [block.texts[chosen[block.id]] for block in blocks if block.id in chosen and block.id not in replaced]


def _turns(blocks: Sequence[ContextBlock], chosen: Mapping[str, int]) -> list[Message]:
    messages: list[Message] = []
    left_out = 0
    for block in blocks:
        if block.id in chosen:
            if left_out:
                messages.append(gap(left_out))
                left_out = 0
            messages += block.turns[chosen[block.id]]
        else:
            left_out += len(block.turns[0])
    if left_out:
        messages.append(gap(left_out))
    return messages


def gap(messages: int) -> Message:
    """The marker where turns are left out."""
    what = "1 earlier message is" if messages == 1 else f"{messages} earlier messages are"
    return {"role": "user", "content": f"[{what} left out here]"}


def _with_prelude(prelude: str, query: Sequence[Message]) -> list[Message]:
    """The context and the query in one user message: chat templates that want roles to alternate accept no two."""
    if not query or query[0].get("role") != "user":
        return [{"role": "user", "content": prelude}, *query]
    asked: Mapping[str, Any] = query[0]
    content = asked.get("content")
    joined: object
    if isinstance(content, str):
        joined = f"{prelude}\n{content}"
    else:
        joined = [{"type": "text", "text": prelude + "\n"}, *(content or ())]
    return [{**asked, "content": joined}, *query[1:]]
