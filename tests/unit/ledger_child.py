# ruff: noqa: ASYNC110 - another thread is waited for
"""A process of its own that writes to a ledger, for tests that kill it or take its disk away.

`write PATH`: prints the id of every row that was acknowledged as stored, until it is killed.
`full PATH`: lets the file grow no further, writes, lifts the limit again, and prints what the ledger says.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from pathlib import Path

from app.store.database import Database
from app.usage.ledger import LedgerLimits, UsageLedger
from tests.unit.ledger_rows import NOW, attempt, ended, receipt_of


async def write(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    ledger = await UsageLedger.open(database, now=NOW)

    async def stream(name: str) -> None:
        number = 0
        while True:
            id = f"{os.getpid()}-{name}-{number}"
            ledger.begin(attempt(id))
            print("begun", id, flush=True)
            await asyncio.sleep(0.001)
            if await ledger.settle(id, ended(), receipt_of(id)) == "stored":
                print("stored", id, flush=True)
            number += 1

    await asyncio.gather(*(stream(str(number)) for number in range(8)))


async def full(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    ledger = await UsageLedger.open(database, now=NOW, limits=LedgerLimits(capacity=300, retry_pauses=(0.05,)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for some rows more than what the schema takes by itself.
    taken = max(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (taken + 200_000, hard))
    answers = []
    for number in range(400):
        ledger.begin(attempt(f"{number:03}"))
        answers.append(await ledger.settle(f"{number:03}", ended(error_message="x" * 500)))
    during = ledger.health()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    async with asyncio.timeout(10):
        while ledger.health().waiting:
            await asyncio.sleep(0.01)
    after = ledger.health()
    await ledger.close()
    closed = await database.close()
    report = {
        "stored": answers.count("stored"),
        "waiting": during.waiting,
        "lost": after.lost,
        "error": during.last_error,
        "notices": database.notices,
        "closed": closed,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    asyncio.run({"write": write, "full": full}[sys.argv[1]](Path(sys.argv[2])))
