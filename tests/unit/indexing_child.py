"""Indexes a folder until it is killed: `python -m tests.unit.indexing_child DATA MODEL FOLDER`. Says what is stored."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.unit.indexing_parts import open_parts


async def main(data: Path, model: Path, folder: Path) -> None:
    async with open_parts(data, model) as parts:
        job = await parts.jobs.start("w", str(folder))
        async for progress in job.updates():
            print(progress.files_indexed, progress.state, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:4])))
