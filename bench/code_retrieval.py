"""How often the chunk of code that answers a question is among the first that the index finds.

    python -m bench.code_retrieval [DATA] [--parts] [--model DIR]

DATA holds `chunks.json` (`[{doc, index, text}]`) and `queries.jsonl` (`{query, gold: [[doc, index]]}`), by default
`../shared/data/code-retrieval` beside the project: 737 chunks of nine code bases, from the guide to contextual
embeddings in anthropic-cookbook (MIT). `pass@k` is the share of a question's gold chunks among the first k, the mean
over questions. The chunks go through `WorkspaceIndex` as a front end's would: without symbols or header, and with a
number for a path, because the data names no files.

Weights were chosen on every other question, beginning with the first; the table shows both halves. With `--parts`, what
search is without one of its parts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.memory.chunks import Chunk, content_hash
from app.memory.embedder import Embedder
from app.memory.hybrid import WEIGHTS, Weights
from app.memory.index import WorkspaceIndex
from app.memory.model_files import EmbedderUnavailable, default_folder

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT.parent / "shared" / "data" / "code-retrieval"
DEPTHS = (5, 10, 20)


@dataclass(frozen=True)
class Question:
    text: str
    gold: frozenset[str]


@dataclass(frozen=True)
class Way:
    """One row of the table."""

    name: str
    weights: Weights = WEIGHTS
    vector: bool = True


WAY = Way("search")
PARTS = (
    Way("  without the model", vector=False),
    Way("  without words", Weights(words=0.0, file=WEIGHTS.file)),
    Way("  without files", Weights(words=WEIGHTS.words, file=0.0)),
    Way("  cosine alone", Weights(0.0, 0.0)),
)


def read_chunks(path: Path) -> list[Chunk]:
    """By document, in order, with the lines they would have if they stood one after the other."""
    documents: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for raw in json.loads(path.read_text(encoding="utf-8")):
        documents[raw["doc"]].append((raw["index"], raw["text"]))
    chunks: list[Chunk] = []
    for number, (doc, pieces) in enumerate(documents.items()):
        line = 1
        for index, text in sorted(pieces):
            last = line + text.count("\n")
            whole = content_hash(doc.encode())
            chunks.append(Chunk(chunk_name(doc, index), str(number), line, last, text, None, None, whole))
            line = last + 1
    return chunks


def chunk_name(doc: str, index: int) -> str:
    return f"{doc}.{index}"


def read_questions(path: Path) -> list[Question]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Question(line["query"], frozenset(chunk_name(doc, at) for doc, at in line["gold"])) for line in lines]


async def measure(index: WorkspaceIndex, questions: Sequence[Question], way: Way) -> list[tuple[float, ...]]:
    """Per question its pass at each depth, and last the seconds it took."""
    results = []
    for question in questions:
        began = time.perf_counter()
        hits = await index.search("bench", question.text, k=max(DEPTHS), vector=way.vector)
        took = time.perf_counter() - began
        found = [hit.chunk.id for hit in hits]
        passes = (len(question.gold.intersection(found[:depth])) / len(question.gold) for depth in DEPTHS)
        results.append((*passes, took))
    return results


def row(name: str, results: Sequence[tuple[float, ...]]) -> str:
    halves = (results, results[::2], results[1::2])
    means = (sum(r[at] for r in half) / len(half) * 100 for half in halves for at in range(len(DEPTHS)))
    median = sorted(r[-1] for r in results)[len(results) // 2] * 1000
    return f"{name:22}" + "".join(f"{mean:7.1f}" for mean in means) + f"{median:9.1f}"


async def run(data: Path, model: Path, parts: bool) -> None:
    chunks, questions = read_chunks(data / "chunks.json"), read_questions(data / "queries.jsonl")
    embedder = Embedder(model)
    try:
        await embedder.load()
        with tempfile.TemporaryDirectory() as folder:
            index = WorkspaceIndex(Path(folder), embedder)
            began = time.perf_counter()
            await index.upsert("bench", chunks)
            await index.maintain()
            took = time.perf_counter() - began
            vectors = (await index.stats("bench")).vectors
            print(f"{len(chunks)} chunks, {vectors} passages indexed in {took:.0f} s; {len(questions)} questions")
            print(f"{'pass@':22}{'all':>14}{'tuned on these':>23}{'not on these':>20}{'median':>14}")
            print(" " * 22 + "".join(f"{depth:7}" for _ in range(3) for depth in DEPTHS) + f"{'ms':>9}")
            await index.search("bench", "warm")
            for way in (WAY, *PARTS) if parts else (WAY,):
                asked = WorkspaceIndex(Path(folder), embedder, weights=way.weights)
                await asked.search("bench", "warm", vector=way.vector)
                print(row(way.name, await measure(asked, questions, way)))
                await asked.aclose()
            await index.aclose()
    finally:
        await embedder.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description="pass@5, 10 and 20 of the workspace index on code.")
    parser.add_argument("data", type=Path, nargs="?", default=DATA, help="folder with chunks.json and queries.jsonl")
    parser.add_argument("--parts", action="store_true", help="also what search is without each of its parts")
    parser.add_argument("--model", type=Path, default=None, help="folder of the embedding model's files")
    options = parser.parse_args()
    if absent := [name for name in ("chunks.json", "queries.jsonl") if not (options.data / name).is_file()]:
        print(f"not measured: no {' and no '.join(absent)} in {options.data}", file=sys.stderr)
        return
    try:
        asyncio.run(run(options.data, options.model or default_folder(), options.parts))
    except EmbedderUnavailable as error:
        print(f"not measured: {error.detail}", file=sys.stderr)


if __name__ == "__main__":
    main()
