"""The log of a run: bounded, without keys, heard once by everybody who listens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from app.agents.runlog import FIRST_LINES, LAST_LINES, Heard, Line, RunLog, numbered


async def test_a_log_keeps_its_beginning_and_its_end_and_no_key() -> None:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text.replace("sk-secret", "***"))
    for number in range(FIRST_LINES + LAST_LINES + 50):
        runlog.info(f"line {number} sk-secret \ud800")
    lines = runlog.lines
    assert len(lines) == FIRST_LINES + LAST_LINES + 1
    assert lines[0].text == "line 0 *** ?"
    assert lines[FIRST_LINES].text == "[50 lines left out]"
    assert lines[-1].text.startswith(f"line {FIRST_LINES + LAST_LINES + 49}")


async def test_listeners_hear_everything_once_and_end_with_the_run() -> None:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text)
    runlog.info("one")

    async def hear() -> list[str]:
        return [h.news.text async for batch in runlog.listen() for h in batch if isinstance(h.news, Line)]

    listeners = [asyncio.create_task(hear()) for _ in range(2)]
    await asyncio.sleep(0)
    runlog.info("two")
    await asyncio.sleep(0)
    runlog.info("three")
    runlog.close()
    assert [await listener for listener in listeners] == [["one", "two", "three"]] * 2


async def test_a_listener_who_comes_back_hears_the_lines_after_its_last() -> None:
    runlog = RunLog("run", lambda: datetime(2026, 11, 26, tzinfo=UTC), lambda text: text)
    said = FIRST_LINES + LAST_LINES + 50
    for number in range(1, said + 1):
        runlog.info(f"line {number}")
    runlog.progress("nearly there")
    runlog.close()

    async def heard(after: int) -> list[Heard]:
        return [one async for batch in runlog.listen(after) for one in batch]

    everything = await heard(0)
    assert [h.number for h in everything if h.news.text == f"line {h.number}"] == [
        *range(1, FIRST_LINES + 1),
        *range(said - LAST_LINES + 1, said + 1),
    ]
    assert [(h.number, h.news.text) for h in everything[-2:]] == [(said, f"line {said}"), (said, "nearly there")]
    # One whose last line is among those left out is told of the gap; one who knows all hears where it stands.
    assert (await heard(FIRST_LINES + 3))[0].news.text == "[50 lines left out]"
    assert (await heard(FIRST_LINES + 50))[0].news.text == f"line {FIRST_LINES + 51}"
    assert [h.news.text for h in await heard(said)] == ["nearly there"]
    # What is kept in the database says the same.
    assert numbered(runlog.lines) == everything[:-1]
