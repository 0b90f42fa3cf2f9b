"""Writes to an index without end, and says after each write what is now stored. Killed by `test_index`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from app.memory.chunks import Chunk
from app.memory.embedder import Embedder
from app.memory.index import WorkspaceIndex
from tests.fakes import tiny_minilm


async def main(folder: Path, model: Path, turn: int) -> None:
    embedder = Embedder(model, threads=1, package=tiny_minilm.write(model))
    index = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
    for number in itertools.count():
        path, whole = f"{number % 4}.py", f"{turn}.{number}"
        chunks = [Chunk(f"{path}.{n}", path, n + 1, n + 1, f"budget {whole} {n}", None, None, whole) for n in range(3)]
        await index.upsert("w", chunks)
        print(path, whole, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
