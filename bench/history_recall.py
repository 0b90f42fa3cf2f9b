"""How much of the evidence a question needs is still in the context, when a long conversation does not fit.

    python -m bench.history_recall [DATA] [--parts | --through-explain] [--conversations 26,30] [--questions N]
                                   [--model DIR]

DATA holds conversations of LoCoMo ("Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024), one JSON
file each: `turns[{id, session, time, speaker, text}]` and `questions[{question, evidence: [turn id], category}]`; by
default `../shared/data/locomo` beside the project. Each conversation becomes a history of messages, each question a
request over it, and the context builder fits it to windows of 2,048, 4,096 and 6,192 input tokens (cl100k). A question
scores the share of its evidence turns that the built context holds whole; the table has the mean over questions.

"newest first" is the same builder without scores: what cutting by age keeps. With `--parts`, what recall is without one
of its parts. With `--through-explain` the conversations are stored in a running sidecar and asked about over HTTP, as
an application would: see `bench.through_explain`. `--questions N` takes N of each conversation, evenly spaced.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.context.blocks import Material, Outcome
from app.context.builder import ContextBuilder
from app.context.tokens import TokenCounter
from app.memory.embedder import Embedder, Urgency
from app.memory.model_files import EmbedderUnavailable, default_folder
from app.memory.recall import Recall, Remembered, Weights, passages
from bench import through_explain

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT.parent / "shared" / "data" / "locomo"
BUDGETS = (2_048, 4_096, 6_192)
"""Input tokens: windows of 4,096, 8,192 and 8,192 less what is kept for the answer and a system prompt."""
TUNED_ON = ("26", "41", "43")
CATEGORIES = {1: "several facts", 2: "time", 3: "open", 4: "one fact", 5: "misleading"}
"""LoCoMo's; a question of the last kind asks about the wrong person."""


@dataclass(frozen=True)
class Question:
    text: str
    evidence: tuple[int, ...]
    """Positions of turns; never empty."""
    category: int

    def share(self, held: frozenset[int]) -> float:
        """Of the evidence, how much is among the turns held."""
        return sum(place in held for place in self.evidence) / len(self.evidence)


@dataclass(frozen=True)
class Conversation:
    name: str
    turns: tuple[Remembered, ...]
    questions: tuple[Question, ...]

    def messages(self) -> list[Mapping[str, Any]]:
        """As a chat client would have sent them: whoever speaks first is the user."""
        user = self.turns[0].speaker
        return [
            {"role": "user" if turn.speaker == user else "assistant", "content": f"{turn.speaker}: {turn.text}"}
            for turn in self.turns
        ]


Kept = Callable[[Question, int], Awaitable[frozenset[int]]]
"""Which turns (positions) the context built for a question and a budget in tokens holds whole."""


def read_conversation(path: Path, questions: int | None = None) -> Conversation:
    """A file of LoCoMo; `questions`: how many of its questions with evidence, evenly spaced (None: all)."""
    data = json.loads(path.read_text(encoding="utf-8"))
    places = {turn["id"]: place for place, turn in enumerate(data["turns"])}
    evidence = [tuple(places[e] for e in question["evidence"] if e in places) for question in data["questions"]]
    asked = [
        Question(q["question"], found, q["category"])
        for q, found in zip(data["questions"], evidence, strict=True)
        if found
    ]
    step = 1 if questions is None else max(1, len(asked) // questions)
    return Conversation(
        name=path.stem,
        turns=tuple(
            Remembered(turn["text"], when(turn["time"]) + timedelta(seconds=place), turn["speaker"])
            for place, turn in enumerate(data["turns"])
        ),
        questions=tuple(asked[::step][:questions]),
    )


def when(text: str) -> datetime:
    """LoCoMo's way of writing a time: "1:56 pm on 8 May, 2023"."""
    return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def by_builder(conversation: Conversation, builder: ContextBuilder, scores: Callable[[Question], list[float]]) -> Kept:
    """Ask the context builder, with `scores` for the older messages (an empty list: by age)."""
    history = conversation.messages()

    async def kept(question: Question, budget: int) -> frozenset[int]:
        asked = {"role": "user", "content": question.text}
        material = Material(messages=(asked,), history=history, history_scores=scores(question))
        window = await builder.fit(
            await builder.prepare(material), model_id="bench", window=budget, wanted_output=0, tokenizer="cl100k"
        )
        assert window.input_tokens <= budget
        whole = (b.id for b in window.blocks if b.kind == "history" and b.outcome is Outcome.KEPT)
        return frozenset(int(name.partition(":")[2]) for name in whole)

    return kept


@dataclass(frozen=True)
class Embedded:
    """A conversation's vectors: of each turn as they are stored, and of each question."""

    turns: tuple[bytes, ...]
    questions: Mapping[str, Vectors]

    def scores(self, conversation: Conversation, weights: Weights | None, *, vectors: bool = True) -> Any:
        recall = Recall(weights or Weights())
        for turn, stored in zip(conversation.turns, self.turns, strict=True):
            recall.add(turn, stored if vectors else b"")
        return lambda question: recall.scores(question.text, self.questions[question.text] if vectors else None)


async def embed(conversation: Conversation, embedder: Embedder) -> Embedded:
    split = [passages(turn) for turn in conversation.turns]
    vectors = await embedder.embed([text for texts in split for text in texts], Urgency.INDEX)
    stored, at = [], 0
    for texts in split:
        stored.append(vectors[at : at + len(texts)].tobytes())
        at += len(texts)
    asked = [question.text for question in conversation.questions]
    return Embedded(tuple(stored), {text: await embedder.question(text) for text in asked})


Results = dict[tuple[str, str, int, int], list[float]]
"""By way, conversation, category and budget: one share per question."""


async def measure(conversations: Sequence[Conversation], embedder: Embedder, parts: bool) -> Results:
    results: Results = defaultdict(list)
    counter = TokenCounter()
    builder = ContextBuilder(counter)
    for conversation in conversations:
        began = time.perf_counter()
        embedded = await embed(conversation, embedder)
        took = time.perf_counter() - began
        print(f"conversation {conversation.name}: {len(conversation.turns)} turns embedded in {took:.0f} s")
        for way, scores in ways(conversation, embedded, parts):
            kept = by_builder(conversation, builder, scores)
            for question in conversation.questions:
                for budget in BUDGETS:
                    held = await kept(question, budget)
                    results[way, conversation.name, question.category, budget].append(question.share(held))
    counter.close()
    return results


async def measure_over_http(conversations: Sequence[Conversation], folder: Path) -> Results:
    results: Results = defaultdict(list)
    async with through_explain.sidecar(folder, BUDGETS) as running:
        for conversation in conversations:
            began = time.perf_counter()
            await through_explain.store(running, conversation)
            stored = time.perf_counter()
            for way in (through_explain.NEWEST_FIRST, through_explain.STORED):
                for question in conversation.questions:
                    for budget in BUDGETS:
                        held = await through_explain.held(running, way, conversation, question, budget)
                        results[way, conversation.name, question.category, budget].append(question.share(held))
            print(
                f"conversation {conversation.name}: {len(conversation.turns)} turns stored and embedded in "
                f"{stored - began:.0f} s, {2 * len(BUDGETS) * len(conversation.questions)} questions asked in "
                f"{time.perf_counter() - stored:.0f} s",
                flush=True,
            )
    return results


def ways(
    conversation: Conversation, embedded: Embedded, parts: bool
) -> Iterable[tuple[str, Callable[[Question], list[float]]]]:
    yield "newest first", lambda _: []
    yield "recall", embedded.scores(conversation, None)
    if parts:
        yield "  without words", embedded.scores(conversation, Weights(words=0.0))
        yield "  without neighbours", embedded.scores(conversation, Weights(neighbours=()))
        yield "  without sittings", embedded.scores(conversation, Weights(sitting=0.0))
        yield "  cosine alone", embedded.scores(conversation, Weights(0.0, (), 0.0))
        yield "  words alone (no model)", embedded.scores(conversation, None, vectors=False)


def table(title: str, results: Results, keep: Callable[[str, int], bool]) -> None:
    """One line per way over the questions whose conversation and category are kept."""
    chosen: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (way, conversation, category, budget), shares in results.items():
        if keep(conversation, category):
            chosen[way, budget] += shares
    if not chosen:
        return
    questions = len(next(iter(chosen.values())))
    print(f"\n{title + f' ({questions})':36}" + "".join(f"{budget:>9,}" for budget in BUDGETS))
    for way in dict.fromkeys(way for way, _ in chosen):
        means = (sum(shares) / len(shares) for shares in (chosen[way, budget] for budget in BUDGETS))
        print(f"{way:36}" + "".join(f"{mean:9.3f}" for mean in means))


def report(results: Results) -> None:
    table("all questions", results, lambda conversation, category: True)
    table("weights were tuned on these", results, lambda conversation, category: conversation in TUNED_ON)
    table("and not on these", results, lambda conversation, category: conversation not in TUNED_ON)
    for number, name in CATEGORIES.items():
        table(name, results, lambda conversation, category, number=number: category == number)  # type: ignore[misc]


async def run(conversations: Sequence[Conversation], model: Path, parts: bool) -> None:
    embedder = Embedder(model)
    try:
        await embedder.load()
        report(await measure(conversations, embedder, parts))
    finally:
        await embedder.aclose()


async def run_over_http(conversations: Sequence[Conversation]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report(await measure_over_http(conversations, Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description="What share of the evidence a built context holds.")
    parser.add_argument("data", type=Path, nargs="?", default=DATA, help="folder of LoCoMo's conversations")
    parser.add_argument("--conversations", default="", help="names of files, comma-separated; default: all")
    parser.add_argument("--parts", action="store_true", help="also what recall is without each of its parts")
    parser.add_argument("--through-explain", action="store_true", help="stored sessions of a running sidecar")
    parser.add_argument("--questions", type=int, default=None, help="so many of each conversation; default: all")
    parser.add_argument("--model", type=Path, default=None, help="folder of the embedding model's files")
    options = parser.parse_args()
    names = [name for name in options.conversations.split(",") if name]
    files = sorted(path for path in options.data.glob("*.json") if not names or path.stem in names)
    if not files:
        print(
            f"not measured: no conversations in {options.data}: give the folder of LoCoMo's files as argument",
            file=sys.stderr,
        )
        return
    conversations = [read_conversation(path, options.questions) for path in files]
    try:
        if options.through_explain:
            asyncio.run(run_over_http(conversations))
        else:
            asyncio.run(run(conversations, options.model or default_folder(), options.parts))
    except EmbedderUnavailable as error:
        print(f"not measured: {error.detail}", file=sys.stderr)


if __name__ == "__main__":
    main()
