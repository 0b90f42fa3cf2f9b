"""maintenance: keeps the data folder in order. Asks no model."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from app.agents.base import Agent, AgentContext, AgentResult
from app.store.database import Database

BACKUPS: Final = "backups"
"""The folder, within the data folder."""
_PATTERN = "sidecar-*.db"


@dataclass(frozen=True, slots=True)
class Chore:
    """One piece of work. `do` returns a sentence; what it raises fails this chore and no other."""

    name: str
    do: Callable[[AgentContext], Any]


class Maintenance(Agent):
    """Back-up of the database, tidying of what is too old, and the chores other parts bring along."""

    name = "maintenance"
    description = "Backs up the database, removes what is too old, keeps index and roll-ups in order. Asks no model."
    settings_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"backups": {"type": "integer", "minimum": 0, "maximum": 100}},
        "additionalProperties": False,
    }
    rerun_is_safe = True

    def __init__(self, database: Database, chores: Sequence[Chore] = ()) -> None:
        self._database = database
        self._chores = (Chore("backup", self._back_up), *chores)

    async def run(self, context: AgentContext) -> AgentResult:
        done: dict[str, str] = {}
        failed: list[str] = []
        for number, chore in enumerate(self._chores):
            context.progress(chore.name, number, len(self._chores))
            try:
                said = await context.storing(chore.name, lambda chore=chore: chore.do(context))  # type: ignore[misc]
                done[chore.name] = said if said is not None else "not done: a dry run"
            except Exception as error:
                failed.append(chore.name)
                done[chore.name] = f"failed: {getattr(error, 'detail', type(error).__name__)}"
            context.log.info(f"{chore.name}: {done[chore.name]}")
        if len(failed) == len(self._chores):
            raise RuntimeError("every chore failed")
        lines = [f"- **{name}**: {said}" for name, said in done.items()]
        return AgentResult("\n".join(lines), {"done": done, "failed": failed})

    async def _back_up(self, context: AgentContext) -> str:
        keep = int(context.settings.get("backups", 7))
        if keep == 0:
            return "switched off"
        return await asyncio.to_thread(back_up, self._database.path, keep, context.now())


def back_up(database: Path, keep: int, now: datetime) -> str:
    """A consistent copy of the database in `backups/`, checked before it counts; the oldest beyond `keep` go.

    `VACUUM INTO` reads one snapshot: writers are not held up, and what they write meanwhile does not make it begin
    anew, as it would a copy page by page.
    """
    folder = database.parent / BACKUPS
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"sidecar-{now.astimezone(UTC):%Y%m%dT%H%M%S}Z.db"
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(part)) as copy:
            source.execute("VACUUM INTO ?", (str(part),))
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise RuntimeError(f"the copy is damaged: {found}")
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    old = sorted(folder.glob(_PATTERN))[:-keep]
    for path in old:
        path.unlink(missing_ok=True)
    size = target.stat().st_size / 1e6
    return f"{target.name}, {size:.1f} MB" + (f"; {len(old)} older removed" if old else "")
