"""`builtin/extractive`: the model that is always there. It quotes, it does not write.

In-process, deterministic, no network. A question is answered with the passages of the given context that fit it best,
and with what to do to get a language model; a request for a summary with the sentences that carry most. It has neither
tools nor JSON output: the catalog says so (`ModelSpec.lacks`).
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.errors import Unsupported
from app.llm.calls import Chunk, Finish, Message, ModelCall, TextDelta, Usage
from app.llm.passages import Passage, rank, shorten, split, terms

Count = Callable[[str], int]
"""Tokens of a text."""

MODEL_ID: Final = "builtin/extractive"
SUMMARY_TASKS: Final = frozenset({"summarization", "session_capture"})
MOST_PASSAGES: Final = 5
ANSWER_TOKENS: Final = 1500
"""What a quoted answer may take where the caller sets no limit."""
SUMMARY_TOKENS: Final = 600
"""What a summary may take at most; less where a third of what it summarises is less."""
LEAST_SUMMARY_TOKENS: Final = 120
OFF_LOOP_CHARACTERS: Final = 50_000
"""Above this (about 5 ms of work) the answer is made in a thread, so that other streams go on."""

_WORDS_PER_PIECE: Final = 4
_PIECES_PER_BATCH: Final = 8
_QUERY_CHARACTERS: Final = 2000
_LONGEST_WISH: Final = 300
"""A longer question beside a context is material itself."""
_REMEDY: Final = (
    "To get a written answer, start Ollama (`ollama serve`, then `ollama pull llama3:8b`) or set the key of a "
    "provider, such as `ANTHROPIC_API_KEY`, and ask again. `llm-sidecar doctor` shows what is missing."
)
_QUOTING: Final = (
    "No language model answered, so nothing was written for this question. Below are the passages of the given "
    "context that fit it best, word for word.\n\n" + _REMEDY
)
_NO_MATCH: Final = (
    "No language model answered, and no passage of the given context shares a word with the question.\n\n" + _REMEDY
)
_NO_CONTEXT: Final = (
    "No language model answered, and no context came with the question, so there is nothing to quote.\n\n" + _REMEDY
)
_NOTHING_TO_SUMMARISE: Final = "There is nothing to summarise: no text came with the request."

_PIECE = re.compile(r"\s*\S{1,64}|\s+")
_ASKS_SUMMARY = re.compile(r"\b(?:summar(?:y|ies|i[sz]e|i[sz]ing)|tl;?dr|recap|condense)\b", re.IGNORECASE)
_SUMMARISER = re.compile(
    r"^\s*(?:please )?(?:summari[sz]e|condense)\b|\byou (?:are|act as) an? (?:\w+ )?summari[sz]er\b|"
    r"\byou (?:summari[sz]e|condense)\b|\b(?:write|give|make|produce) (?:an?|the) (?:\w+ ){0,3}summary\b",
    re.IGNORECASE,
)
_INSTRUCTION_CHARACTERS: Final = 400
"""A summariser's prompt says so at its beginning."""
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")
_BULLET = re.compile(r"^\s*(?:[-*•]|#{1,6}|\d{1,3}[.)])\s+")
_SIGNALS: Final = (
    (re.compile(r"[\w-]/[\w.-]|\b\w+\.[a-z]{1,4}\b"), 0.6),
    (re.compile(r"`[^`\n]+`|\b\w+_\w+|\b[a-z]+[A-Z]\w*|\w\(\)"), 0.5),
    (re.compile(r"\d"), 0.3),
    (
        re.compile(
            r"\b(?:decid|decision|agree|chose|will use|must|because|fix|cause|error|exception|fail|block|next|todo|"
            r"open question|works?\b|did(?:n't| not)|solved|remember)",
            re.IGNORECASE,
        ),
        0.9,
    ),
)


@dataclass(frozen=True, slots=True)
class _Text:
    """An answer with its token counts; `whole` is False where the limit cut it."""

    pieces: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    whole: bool


def rough_count(text: str) -> int:
    """Tokens of a text, guessed high: three bytes each, where English has about four characters."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 3)


def answer(
    messages: Sequence[Message],
    *,
    max_output_tokens: int | None,
    task_type: str | None = None,
    count: Count = rough_count,
) -> Iterator[str]:
    """The answer in pieces of a few words, never of more than `max_output_tokens` by `count`."""
    yield from _within(_compose(messages, max_output_tokens, task_type, count), max_output_tokens, count)[0]


async def stream(call: ModelCall, count: Count) -> AsyncGenerator[list[Chunk], None]:
    """Batches of `TextDelta`, then `Usage`, then `Finish` (`stop`, or `length` where the limit cut the answer).

    Raises `Unsupported` where the call asks for JSON or insists on a tool.
    """
    _refuse_what_it_lacks(call)
    size = sum(len(_text(m)) for m in call.messages)
    if size > OFF_LOOP_CHARACTERS:
        made = await asyncio.to_thread(_make, call, count)
    else:
        made = _make(call, count)
    for at in range(0, len(made.pieces), _PIECES_PER_BATCH):
        yield [TextDelta(piece) for piece in made.pieces[at : at + _PIECES_PER_BATCH]]
        await asyncio.sleep(0)
    yield [Usage(made.input_tokens, made.output_tokens), Finish("stop" if made.whole else "length")]


def _refuse_what_it_lacks(call: ModelCall) -> None:
    wanted = (call.response_format or {}).get("type", "text")
    if wanted != "text":
        raise Unsupported(f"{MODEL_ID} quotes text and cannot answer in the form {wanted!r}.")
    if call.tool_choice == "required" or isinstance(call.tool_choice, Mapping):
        raise Unsupported(f"{MODEL_ID} cannot call tools.")


def _make(call: ModelCall, count: Count) -> _Text:
    text = _compose(call.messages, call.max_output_tokens, call.task_type, count)
    cuts = [at for mark in call.stop if mark and (at := text.find(mark)) >= 0]
    pieces, whole = _within(text[: min(cuts)] if cuts else text, call.max_output_tokens, count)
    return _Text(pieces, sum(count(_text(m)) for m in call.messages), count("".join(pieces)), whole)


def _within(text: str, limit: int | None, count: Count) -> tuple[tuple[str, ...], bool]:
    """The text in pieces, up to the limit, and whether that is all of it."""
    words = _PIECE.findall(text)
    pieces = ["".join(words[i : i + _WORDS_PER_PIECE]) for i in range(0, len(words), _WORDS_PER_PIECE)]
    if limit is None or count(text) <= limit:
        return tuple(pieces), True
    kept: list[str] = []
    used = 0
    for word in words:
        used += count(word)
        if used > limit:
            break
        kept.append(word)
    return tuple("".join(kept[i : i + _WORDS_PER_PIECE]) for i in range(0, len(kept), _WORDS_PER_PIECE)), False


def _compose(messages: Sequence[Message], limit: int | None, task_type: str | None, count: Count) -> str:
    question, context = _question_and_context(messages)
    if task_type in SUMMARY_TASKS or _summariser_is_asked(messages):
        told = not context or len(question) > _LONGEST_WISH
        return _summary([*context, Passage(question)] if told else context, limit, count)
    if _ASKS_SUMMARY.search(question[:_LONGEST_WISH]) and context:
        return _summary(context, limit, count)
    if not context:
        return _NO_CONTEXT
    found = rank(context, question)
    return _quoted(found, limit, count) if found else _NO_MATCH


def _summariser_is_asked(messages: Sequence[Message]) -> bool:
    """Whether the first instruction is a summariser's; a system prompt that merely holds a summary is not one."""
    if not messages or messages[0].get("role") != "system":
        return False
    return _SUMMARISER.search(_text(messages[0])[:_INSTRUCTION_CHARACTERS]) is not None


def _text(message: Message) -> str:
    """The text of a message, whose content may be a string, parts, or nothing."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return "\n".join(part for part in parts if isinstance(part, str))


def _question_and_context(messages: Sequence[Message]) -> tuple[str, list[Passage]]:
    """The last user message's own words, and everything else as passages.

    Of the system messages only what names a file or stands in a fence or a tag counts as context: the rest is how to
    answer. A long last message is a document with a question at its end.
    """
    asked = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].get("role") == "user"), None)
    context: list[Passage] = []
    question = ""
    for at, message in enumerate(messages):
        passages = split(_text(message))
        if at == asked:
            prose = [p.text for p in passages if not p.given]
            kept = _question(prose)
            question = "\n\n".join(kept) or _text(message)[-_QUERY_CHARACTERS:]
            context += [p for p in passages if p.given]
            context += [Passage(text) for text in prose[: len(prose) - len(kept)]]
        elif message.get("role") == "system" and at == 0:
            context += [p for p in passages if p.given]
        else:
            context += passages
    return question, context


def _question(prose: Sequence[str]) -> list[str]:
    """The last paragraphs that fit a question's size; at least one."""
    kept: list[str] = []
    size = 0
    for text in reversed(prose):
        size += len(text)
        if kept and size > _QUERY_CHARACTERS:
            break
        kept.insert(0, text)
    return kept


def _quoted(found: Sequence[Passage], limit: int | None, count: Count) -> str:
    """The notice, then the best passages in fences, as many as fit."""
    room = min(limit or ANSWER_TOKENS, ANSWER_TOKENS) - count(_QUOTING)
    shown = [_QUOTING]
    for passage in found[:MOST_PASSAGES]:
        block = _block(passage)
        cost = count("\n\n" + block)
        if cost > room and len(shown) == 1:
            # Half the characters the room would hold: a token has at least about one, mostly three or four.
            shorter = shorten(passage, max(0, room - 40) * 2)
            block = _block(shorter) if shorter else ""
            cost = count("\n\n" + block)
        if not block or cost > room:
            continue
        shown.append(block)
        room -= cost
    return "\n\n".join(shown)


def _block(passage: Passage) -> str:
    """A passage under its path and lines, in a fence that nothing inside it can close."""
    longest = max((len(run) for run in re.findall(r"`{3,}", passage.text)), default=2)
    fence = "`" * (longest + 1)
    language = passage.path.rpartition(".")[2].lower() if passage.path and "." in passage.path else ""
    quoted = f"{fence}{language}\n{passage.text}\n{fence}"
    if passage.path is None:
        return quoted
    first, last = passage.line, passage.last_line
    lines = "" if first is None else f", line {first}" if first == last else f", lines {first} to {last}"
    return f"**{passage.path}**{lines}\n{quoted}"


def _summary(passages: Sequence[Passage], limit: int | None, count: Count) -> str:
    """The sentences that carry most, in their order, one a line; lines of code only where there is nothing else."""
    parts = [part for p in passages for part in (split(p.text) if p.given and not p.code else [p])]
    texts = [p.text for p in parts if not p.code] or [p.text for p in parts]
    sentences = _sentences(texts)
    if not sentences:
        return _NOTHING_TO_SUMMARISE
    room = min(limit or SUMMARY_TOKENS, SUMMARY_TOKENS, max(LEAST_SUMMARY_TOKENS, sum(count(t) for t in texts) // 3))
    scored = _scores(sentences)
    chosen: dict[int, frozenset[str]] = {}
    for at in sorted(range(len(sentences)), key=lambda i: (-scored[i], i)):
        if room < 4:
            break
        cost = count(f"- {sentences[at]}\n")
        words = frozenset(terms(sentences[at]))
        if cost > room or any(_alike(words, other) for other in chosen.values()):
            continue
        chosen[at] = words
        room -= cost
    if not chosen:  # not even one fits: the best one, and the limit cuts it
        chosen[max(range(len(sentences)), key=lambda i: (scored[i], -i))] = frozenset()
    return "\n".join(f"- {sentences[at]}" for at in sorted(chosen))


def _sentences(texts: Sequence[str]) -> list[str]:
    """Sentences and list items without their bullets; lines of punctuation and fences left out, doubles once."""
    found: dict[str, None] = {}
    for text in texts:
        for line in text.split("\n"):
            for sentence in _SENTENCE_END.split(_BULLET.sub("", line.strip())):
                plain = sentence.strip()
                if any(c.isalnum() for c in plain) and not plain.startswith(("```", "~~~")):
                    found.setdefault(plain)
    return list(found)


def _scores(sentences: Sequence[str]) -> list[float]:
    """How much a sentence carries: common words of the whole, signs of fact and decision, place (last counts most)."""
    counted = [Counter(terms(s)) for s in sentences]
    overall: Counter[str] = Counter()
    for words in counted:
        overall.update(words.keys())
    most = math.log1p(len(sentences))
    scores: list[float] = []
    for at, (sentence, words) in enumerate(zip(sentences, counted, strict=True)):
        central = sum(math.log1p(overall[w]) for w in words) / most / (len(words) + 4)
        facts = sum(weight for sign, weight in _SIGNALS if sign.search(sentence[:2000]))
        place = 0.5 * at / len(sentences) + (0.4 if at == 0 else 0.0)
        scores.append(central + facts + place if words else 0.0)
    return scores


def _alike(words: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sentences say mostly the same (Jaccard)."""
    either = len(words | other)
    return either > 0 and len(words & other) / either > 0.7
