"""Material -> blocks: every priority and rank (their order) is given here; `fit` needs to know no kinds nor reasons.

Ranks within priority 2: steps after the query and the last exchange, the summary, the rest of the stack trace, the open
file, the three most similar chunks, the other recent messages, entities one hop away. Within priority 3: chunks at or
above the similarity line, older messages, entities further away, weaker chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.context.blocks import (
    CodeChunk,
    ContextBlock,
    EntityNote,
    Kind,
    Material,
    Message,
    OpenFile,
    Priority,
)
from app.context.chunks import Absorbed, Merged, chunk_id, tidy
from app.context.conversation import conversation_blocks, read_conversation
from app.context.fence import fenced, one_line
from app.context.trace import Trace, focus_lines, parse_trace
from app.context.trim import LINES_TO_SHORTEN, Span, file_variants, lines_of, shorten

TOP_CHUNKS = 3
DIRECT_HOPS = 1
CHUNK_LINES_KEPT = 18
ENTITY_CHARACTERS = 600
SESSION_PREFIX = "session:"
"""A chunk with such a path is what was said in another session."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Blocks with unique ids, in the order of their rank; `absorbed` are chunks whose lines another block shows,
    `repeated` entities that another block names."""

    blocks: tuple[ContextBlock, ...]
    absorbed: tuple[Absorbed, ...]
    repeated: tuple[EntityNote, ...]


def gather(material: Material, similarity_line: float) -> Gathered:
    """All that is offered, as blocks. Pure; the order of chunks and entities in the material makes no difference."""
    conversation = read_conversation(material.messages, material.history, material.history_scores)
    talk = conversation_blocks(conversation)
    tidied = tidy(material.chunks, material.file, similarity_line)
    trace = parse_trace(material.stacktrace) if material.stacktrace and material.stacktrace.strip() else None
    top, strong, weak = _chunk_blocks(tidied.chunks, similarity_line)
    entities, repeated = _once(material.entities)
    direct, far = _entity_blocks(entities)
    never = [*_system_blocks(material, conversation.system), *talk.never, *_trace_essential(trace)]
    last = [
        *talk.newest,
        *_summary_blocks(material),
        *_trace_rest(trace),
        *_file_blocks(material.file, trace, tidied.spans),
        *top,
        *talk.recent,
        *direct,
    ]
    first = [*strong, *talk.older, *far, *weak]
    return Gathered(tuple(_unique([*never, *last, *first])), tidied.absorbed, tuple(repeated))


def _unique(blocks: Sequence[ContextBlock]) -> list[ContextBlock]:
    """The same in their order, with ids made unique (`entity:x`, `entity:x#2`)."""
    if len({block.id for block in blocks}) == len(blocks):
        return list(blocks)
    used: set[str] = set()
    unique = []
    for block in blocks:
        name, copy = block.id, 1
        while name in used:
            copy += 1
            name = f"{block.id}#{copy}"
        used.add(name)
        unique.append(block if copy == 1 else block._replace(id=name))
    return unique


def _system_blocks(material: Material, system: Iterable[Message]) -> list[ContextBlock]:
    texts = [("system:prompt", material.system_prompt)] if material.system_prompt else []
    texts += [(f"system:{i}", text) for i, message in enumerate(system) if (text := _text_of(message))]
    blocks = [
        ContextBlock(name, Kind.SYSTEM, Priority.NEVER_TRIM, position=i, texts=(text,))
        for i, (name, text) in enumerate(texts)
    ]
    state = material.session_state
    if state:
        written = (
            state if isinstance(state, str) else json.dumps(dict(state), ensure_ascii=False, indent=1, default=str)
        )
        text = fenced("State of the session:", written)
        blocks.append(ContextBlock("session_state", Kind.SESSION_STATE, Priority.NEVER_TRIM, texts=(text,)))
    return blocks


def _text_of(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content or ()
    return "\n".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in parts)


def _summary_blocks(material: Material) -> list[ContextBlock]:
    if not material.summary:
        return []
    text = fenced("Summary of the earlier conversation:", material.summary)
    return [ContextBlock("summary", Kind.SUMMARY, Priority.TRIM_LAST, texts=(text,))]


def _trace_essential(trace: Trace | None) -> list[ContextBlock]:
    if trace is None:
        return []
    text = fenced("Error:", trace.essential)
    return [ContextBlock("trace:error", Kind.STACKTRACE, Priority.NEVER_TRIM, texts=(text,))]


def _trace_rest(trace: Trace | None) -> list[ContextBlock]:
    """The whole trace, which stands in place of its essential part wherever it is kept."""
    if trace is None or trace.variants[0].strip() == trace.essential.strip():
        return []
    texts = tuple(fenced("Stack trace:", variant) for variant in trace.variants)
    return [ContextBlock("trace:rest", Kind.STACKTRACE, Priority.TRIM_LAST, texts=texts, includes="trace:error")]


def _file_blocks(file: OpenFile | None, trace: Trace | None, spans: Sequence[Span]) -> list[ContextBlock]:
    if file is None or not file.text:
        return []
    focus = focus_lines(trace, file.path)
    if file.line is not None:
        focus.append(file.line)
    cursor = f" (cursor at line {file.line})" if file.line is not None else ""
    label = f"Open file {one_line(file.path)}{cursor}:" if file.path else f"Open file{cursor}:"
    texts = tuple(fenced(label, variant) for variant in file_variants(file, focus, spans))
    return [ContextBlock(f"file:{file.path or ''}", Kind.FILE, Priority.TRIM_LAST, texts=texts)]


def _chunk_blocks(
    chunks: Sequence[Merged], similarity_line: float
) -> tuple[list[ContextBlock], list[ContextBlock], list[ContextBlock]]:
    """Top three, the others at or above the line, the rest. Strongest first; in the prompt they stand weakest first."""
    blocks = [_chunk_block(merged, -rank, rank < TOP_CHUNKS) for rank, merged in enumerate(chunks)]
    top, others = blocks[:TOP_CHUNKS], list(zip(blocks, chunks, strict=True))[TOP_CHUNKS:]
    strong = [b for b, m in others if _similarity(m, similarity_line) >= similarity_line]
    weak = [b for b, m in others if _similarity(m, similarity_line) < similarity_line]
    return top, strong, weak


def _similarity(merged: Merged, unknown: float) -> float:
    return unknown if merged.chunk.similarity is None else merged.chunk.similarity


def _chunk_block(merged: Merged, position: int, is_top: bool) -> ContextBlock:
    variants = [_chunk_text(merged.chunk)]
    shorter = [_chunk_text(merged.strongest)] if merged.strongest is not None else []
    chunk = merged.strongest or merged.chunk
    if not is_top and len(lines_of(chunk.text)) > LINES_TO_SHORTEN:
        shorter.append(_chunk_text(replace(chunk, text=shorten(chunk.text, CHUNK_LINES_KEPT))))
    for text in shorter:
        if len(text) < 0.9 * len(variants[-1]):
            variants.append(text)
    priority = Priority.TRIM_LAST if is_top else Priority.TRIM_FIRST
    return ContextBlock(chunk_id(merged.chunk), Kind.CHUNK, priority, position=position, texts=tuple(variants))


def _chunk_text(chunk: CodeChunk) -> str:
    if chunk.path and chunk.path.startswith(SESSION_PREFIX):
        return fenced(f"From an earlier conversation ({one_line(chunk.path)}):", chunk.text)
    label = f"Code from {one_line(chunk.path)}" if chunk.path else "Code"
    if chunk.start_line is not None:
        label += f", lines {chunk.start_line}–{chunk.end_line}"
    return fenced(f"{label}:", chunk.text)


def _once(entities: Iterable[EntityNote]) -> tuple[list[EntityNote], list[EntityNote]]:
    """Nearest first, then by name; the same entity twice is offered once, at its nearest. And the others."""
    kept: dict[tuple[str, str | None], EntityNote] = {}
    repeated = []
    for entity in sorted(entities, key=lambda e: (e.hops, e.name, e.kind or "", e.summary or "")):
        key = entity.name, entity.kind
        if key in kept:
            repeated.append(entity)
        else:
            kept[key] = entity
    return list(kept.values()), repeated


def _entity_blocks(kept: Sequence[EntityNote]) -> tuple[list[ContextBlock], list[ContextBlock]]:
    direct = [e for e in kept if e.hops <= DIRECT_HOPS]
    far = [e for e in kept if e.hops > DIRECT_HOPS]
    return (
        [_entity_block(e, i, Kind.ENTITY, Priority.TRIM_LAST) for i, e in enumerate(direct)],
        [_entity_block(e, i, Kind.FAR_ENTITY, Priority.TRIM_FIRST) for i, e in enumerate(far)],
    )


def _entity_block(entity: EntityNote, position: int, kind: Kind, priority: Priority) -> ContextBlock:
    what = f" ({one_line(entity.kind)})" if entity.kind else ""
    summary = " ".join(entity.summary.split())[:ENTITY_CHARACTERS] if entity.summary else ""
    text = f"- {one_line(entity.name)}{what}{': ' + summary if summary else ''}\n"
    return ContextBlock(f"entity:{one_line(entity.name)}", kind, priority, position=position, texts=(text,))
