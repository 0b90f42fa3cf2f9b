"""Days of schedule in milliseconds: a clock that is moved by hand, a real database, every due time answered once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.agents.base import AgentContext
from app.agents.cron import parse
from app.agents.planner import MAX_MISSED, Calendar, Plan, account
from app.agents.records import State
from app.errors import Conflict
from tests.fakes.agents import HandClock, ScriptedAgent, open_agent_service

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def entry(schedule: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "scripted", "schedule": schedule, "timezone": "UTC", **more}]


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def fail(context: AgentContext) -> None:
    raise RuntimeError("a fault of the agent")


# -- the calendar alone: pure ---------------------------------------------------------------------------------------


def plan(line: str, grace: timedelta = timedelta(hours=1), zone: Any = UTC) -> Plan:
    return Plan("a", parse(line), zone, grace)


@pytest.mark.parametrize(
    ("line", "after", "now", "run", "missed"),
    [
        ("0 * * * *", "2026-11-26 09:00", "2026-11-26 09:30", None, []),
        ("0 * * * *", "2026-11-26 09:00", "2026-11-26 10:00", "10:00", []),
        ("0 * * * *", "2026-11-26 09:00", "2026-11-26 12:40", "12:00", ["10:00", "11:00"]),
        ("0 6 * * *", "2026-11-26 05:00", "2026-11-26 07:00", "06:00", []),
        ("0 6 * * *", "2026-11-26 05:00", "2026-11-26 07:01", None, ["06:00"]),
        ("0 9,18 * * *", "2026-11-26 05:00", "2026-11-26 18:30", "18:00", ["09:00"]),
    ],
)
def test_what_becomes_of_due_times(line: str, after: str, now: str, run: str | None, missed: list[str]) -> None:
    found = account(plan(line), when(after), when(now))
    assert (found.run.strftime("%H:%M") if found.run else None) == run
    assert [moment.strftime("%H:%M") for moment in found.missed] == missed


def test_a_year_of_seconds_costs_no_year_of_seconds() -> None:
    now = when("2026-11-26 12:00")
    found = account(plan("* * * * * *"), now - timedelta(days=365), now)
    assert found.run == now
    assert len(found.missed) == MAX_MISSED
    assert found.missed[-1] == now - timedelta(seconds=1)
    assert found.earlier


def test_a_start_that_is_a_little_late_needs_no_grace() -> None:
    found = account(plan("0 * * * *", grace=timedelta(0)), when("2026-11-26 09:00"), when("2026-11-26 10:00:05"))
    assert found.run == when("2026-11-26 10:00")
    late = account(plan("0 * * * *", grace=timedelta(0)), when("2026-11-26 09:00"), when("2026-11-26 10:00:20"))
    assert late.run is None


def test_the_calendar_gives_each_due_time_once_and_follows_a_new_plan() -> None:
    calendar = Calendar()
    now = when("2026-11-26 09:00")
    calendar.put(plan("*/10 * * * *"), now)
    assert calendar.next_due() == when("2026-11-26 09:10")
    assert [a.run for _, a in calendar.take(when("2026-11-26 09:10"))] == [when("2026-11-26 09:10")]
    assert calendar.take(when("2026-11-26 09:10")) == []
    calendar.put(plan("*/3 * * * *"), when("2026-11-26 09:10"))
    assert calendar.next_due() == when("2026-11-26 09:12")
    calendar.remove("a")
    assert calendar.next_due() is None


# -- whole days -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "begin", "expected"),
    [  # the days round the change: 02:30 (01:30) is due once a day, whatever the clocks do
        ("Europe/Berlin", "2026-03-28 00:00", ["03-28 02:30", "03-29 03:00", "03-30 02:30"]),
        ("Europe/Berlin", "2026-10-24 00:00", ["10-24 02:30", "10-25 02:30", "10-26 02:30"]),
        ("America/New_York", "2026-03-07 12:00", ["03-08 03:00", "03-09 02:30", "03-10 02:30"]),
        ("America/New_York", "2026-10-31 12:00", ["11-01 02:30", "11-02 02:30", "11-03 02:30"]),
    ],
)
async def test_three_days_with_a_change_of_clocks(tmp_path: Path, zone: str, begin: str, expected: list[str]) -> None:
    agent, hand = ScriptedAgent(), HandClock(when(begin))
    async with open_agent_service(tmp_path, [agent], entry("30 2 * * *", timezone=zone), hand) as opened:
        await opened.drive(hand.at + timedelta(days=3), timedelta(minutes=30))
    ran = [moment.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M") for moment in agent.ran if moment is not None]
    assert ran == expected


async def test_every_half_hour_of_the_autumn_night_in_new_york(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-01 04:00"))
    async with open_agent_service(
        tmp_path, [agent], entry("*/30 * * * *", timezone="America/New_York"), hand
    ) as opened:
        await opened.drive(when("2026-11-01 08:00"))
        states = opened.states()
    # Four hours of real time are eight half hours, though the wall shows one of them twice.
    assert len(states) == 8
    assert len({due for due, _ in states}) == 8
    assert {state for _, state in states} == {"ok"}


async def test_29_february(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2027-12-31 00:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 12 29 2 *"), hand) as opened:
        await opened.drive(when("2028-03-02 00:00"), timedelta(days=1))
        assert opened.states() == [("2028-02-29T12:00:00.000Z", "ok")]
        view = await opened.service.view("scripted")
        assert [moment.year for moment in view.upcoming] == [2032, 2036, 2040, 2044, 2048]


async def test_a_laptop_that_slept_for_hours_makes_up_for_one(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *", grace_seconds=1800), hand) as opened:
        await opened.drive(when("2026-11-26 10:30"))
        hand.set(when("2026-11-26 16:20"))  # the lid was shut
        await opened.look()
        assert [state for _, state in opened.states()] == ["ok", "missed", "missed", "missed", "missed", "missed", "ok"]
        assert agent.ran[-1] == when("2026-11-26 16:00")
        await opened.look()
        assert len(opened.rows()) == 7, "a second look finds nothing more"


async def test_a_clock_set_forward_and_back_gives_each_due_time_one_run(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("*/10 * * * *"), hand) as opened:
        await opened.drive(when("2026-11-26 10:05"))
        hand.forward(hours=-1)
        await opened.drive(when("2026-11-26 10:25"))
        hand.forward(hours=1)
        await opened.look()
        hand.forward(hours=-1)
        await opened.drive(when("2026-11-26 12:00"))
        counted = Counter(due for due, _ in opened.states())
    assert len(counted) == 18, "from 09:10 to 12:00"
    assert set(counted.values()) == {1}
    assert max(Counter(agent.ran).values()) == 1


async def test_what_was_due_while_nothing_ran_is_answered_at_the_next_start(tmp_path: Path) -> None:
    hand = HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [ScriptedAgent()], entry("0 * * * *"), hand) as opened:
        await opened.drive(when("2026-11-26 10:30"))
    hand.set(when("2026-11-26 13:10"))
    agent = ScriptedAgent()
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *"), hand) as opened:
        await opened.look()
        assert [state for _, state in opened.states()] == ["ok", "missed", "missed", "ok"]
    assert agent.ran == [when("2026-11-26 13:00")]


async def test_a_new_schedule_counts_from_now(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 3 * * *"), hand) as opened:
        hand.set(when("2026-11-26 12:00"))
        opened.reconfigure(entry("30 * * * *"))
        await opened.service.schedule.configure()
        assert opened.service.schedule.next_due() == when("2026-11-26 12:30")
        opened.reconfigure(entry("30 * * * *", enabled=False))
        await opened.service.schedule.configure()
        assert opened.service.schedule.next_due() is None
        hand.set(when("2026-11-28 12:00"))
        opened.reconfigure(entry("30 * * * *"))
        await opened.service.schedule.configure()
        await opened.look()
        assert opened.rows() == [], "nothing is made up for from the time it rested"


async def test_a_pause_outlasts_a_restart_and_nothing_is_made_up_for(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *"), hand) as opened:
        await opened.service.pause("scripted")
        await opened.drive(when("2026-11-26 12:30"))
        assert opened.rows() == []
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *"), hand) as opened:
        assert (await opened.service.view("scripted")).status == "paused"
        hand.set(when("2026-11-26 14:30"))
        await opened.look()
        await opened.service.resume("scripted")
        await opened.drive(when("2026-11-26 15:30"))
        assert opened.states() == [("2026-11-26T15:00:00.000Z", "ok")]


# -- one run and the next -------------------------------------------------------------------------------------------


async def test_a_run_that_would_overlap_is_skipped_and_a_trigger_is_refused(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(context: AgentContext) -> None:
        await gate.wait()

    agent, hand = ScriptedAgent(wait), HandClock(when("2026-11-26 09:59:59"))
    async with open_agent_service(tmp_path, [agent], entry("*/10 * * * *"), hand) as opened:
        hand.set(when("2026-11-26 10:00"))
        await opened.service.look(hand.at)
        hand.set(when("2026-11-26 10:10"))
        await opened.service.look(hand.at)
        with pytest.raises(Conflict) as refused:
            await opened.service.trigger("scripted")
        running = opened.service.runs.live("scripted")
        assert running is not None
        assert refused.value.extra["run_id"] == running.id
        gate.set()
        await opened.settle()
        assert [state for _, state in opened.states()] == ["ok", "skipped"]


async def test_failures_in_a_row_pause_the_agent_and_tell_people(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(fail), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *", max_failures=3), hand) as opened:
        await opened.drive(when("2026-11-26 20:00"), timedelta(hours=1))
        await asyncio.sleep(0.05)
        assert [state for _, state in opened.states()] == ["failed"] * 3
        view = await opened.service.view("scripted")
        assert view.status == "paused"
        assert "3 runs in a row failed" in (view.record.paused_because or "")
        ((title, body, severity),) = opened.notifications.told
        assert (title, severity) == ("The agent scripted was paused", "error")
        assert "agents resume scripted" in body
        assert opened.service.health()["status"] == "degraded"


async def test_a_failed_run_is_tried_again_as_its_entry_says(tmp_path: Path) -> None:
    async def well(context: AgentContext) -> None:
        return None

    agent, hand = ScriptedAgent(fail, fail, well), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *", retries=2, retry_seconds=30), hand) as opened:
        hand.set(when("2026-11-26 10:00"))
        await opened.look()
        (row,) = opened.rows()
        assert (row["state"], row["attempt"]) == ("ok", 3)
        assert hand.slept == [30, 60]


async def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def hang(context: AgentContext) -> None:
        await asyncio.Event().wait()

    hand = HandClock(when("2026-11-26 09:00"))
    entries = entry("0 * * * *", timeout_seconds=0.05)
    async with open_agent_service(tmp_path, [ScriptedAgent(hang)], entries, hand) as opened:
        hand.set(when("2026-11-26 10:00"))
        await opened.look()
        (row,) = opened.rows()
        assert (row["state"], row["error_code"]) == ("failed", "timeout")


async def test_no_more_run_at_once_than_the_file_says(tmp_path: Path) -> None:
    most, now_running = 0, 0

    async def count(context: AgentContext) -> None:
        nonlocal most, now_running
        now_running += 1
        most = max(most, now_running)
        await asyncio.sleep(0.01)
        now_running -= 1

    agents = [ScriptedAgent(count, name=f"a{n}") for n in range(6)]
    entries = [{"name": f"a{n}", "schedule": "0 * * * *", "timezone": "UTC"} for n in range(6)]
    hand = HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, agents, entries, hand, max_running=2) as opened:
        hand.set(when("2026-11-26 10:00"))
        await opened.look()
        assert [state for _, state in opened.states()] == ["ok"] * 6
    assert most == 2


async def test_jitter_puts_a_scheduled_start_off(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *", jitter_seconds=20), hand) as opened:
        hand.set(when("2026-11-26 10:00"))
        await opened.look()
        assert hand.slept == [10.0], "half of it: the clock's chance is 0.5"
        (row,) = opened.rows()
        assert row["started_at"] == "2026-11-26T10:00:10.000Z"


@pytest.mark.parametrize(("safe", "states"), [(False, ["interrupted"]), (True, ["interrupted", "ok"])])
async def test_a_run_that_was_cut_off_is_made_again_only_where_that_is_safe(
    tmp_path: Path, safe: bool, states: list[str]
) -> None:
    async def hang(context: AgentContext) -> None:
        context.log.info("begun")
        await asyncio.Event().wait()

    hand = HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [ScriptedAgent(hang, safe=safe)], entry("0 * * * *"), hand) as opened:
        hand.set(when("2026-11-26 10:00"))
        await opened.service.look(hand.at)
        run = opened.service.runs.live("scripted")
        assert run is not None
        while opened.rows()[0]["state"] != State.RUNNING:  # noqa: ASYNC110  (a row has no event)
            await asyncio.sleep(0.01)
    agent = ScriptedAgent(safe=safe)
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *"), hand) as opened:
        await opened.settle()
        rows = opened.rows()
        assert [row["state"] for row in rows] == states
        assert rows[0]["error_code"] == "interrupted"
        if safe:
            assert (rows[1]["cause"], rows[1]["rerun_of"]) == ("rerun", run.id)


async def test_old_runs_go(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-01 00:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 0 * * *"), hand, keep_days=3) as opened:
        await opened.drive(when("2026-11-10 00:30"), timedelta(hours=7))
        assert 3 <= len(opened.rows()) <= 4


async def test_a_run_cancelled_before_its_first_step_gives_its_place_back(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *"), hand) as opened:
        run = await opened.service.trigger("scripted")
        assert (await opened.service.runs.cancel(run.id)).state is State.CANCELLED
        assert agent.ran == []
        await opened.service.trigger("scripted")
        await opened.settle()
        assert [state for _, state in opened.states()] == ["cancelled", "ok"]


async def test_what_is_due_while_the_database_is_locked_is_started_when_it_is_free(tmp_path: Path) -> None:
    agent, hand = ScriptedAgent(), HandClock(when("2026-11-26 09:00"))
    async with open_agent_service(tmp_path, [agent], entry("0 * * * *"), hand) as opened:
        hand.set(when("2026-11-26 10:00"))
        with closing(sqlite3.connect(opened.database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await opened.look()
            other.execute("ROLLBACK")
        assert opened.rows() == []
        assert opened.service.schedule.next_due() == hand.at + timedelta(seconds=5)
        hand.forward(seconds=5)
        await opened.look()
        assert opened.states() == [("2026-11-26T10:00:00.000Z", "ok")]
        assert opened.service.schedule.next_due() == when("2026-11-26 11:00")


async def test_a_scheduler_that_stands_still_says_so(tmp_path: Path) -> None:
    hand = HandClock()
    async with open_agent_service(tmp_path, [ScriptedAgent()], [], hand) as opened:
        assert opened.service.scheduler_health(hand.at)["status"] == "ok"
        await opened.look()
        hand.forward(minutes=5)
        stands = opened.service.scheduler_health(hand.at)
        assert (stands["status"], bool(stands["reason"]), bool(stands["remedy"])) == ("degraded", True, True)
        await opened.look()
        assert opened.service.scheduler_health(hand.at)["status"] == "ok"
