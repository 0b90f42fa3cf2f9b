"""Slots: limits hold, people go first, nobody is forgotten, whoever is cancelled."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.schema import ProviderEntry
from app.llm.slots import Load, Place, Slots, place_of
from app.routing.locality import Location
from app.routing.spec import Endpoint, ModelSpec, Source, Sourced

SERVER = Place("http://127.0.0.1:11434")
NARROW = Place("http://127.0.0.1:11434", 2)


class Room:
    """Callers of one place, told apart by name; each stays until it is let go."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.slots = Slots()
        self.inside: list[str] = []
        self._doors: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def enter(self, *names: str, within: float | None = None) -> None:
        """`p…` is a person, `a…` an agent; returns when each is inside or waits."""
        for name in names:
            self._doors[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name, within))
        await settle()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._doors[name].set()
        await settle()

    async def give_up(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await settle()

    async def _stay(self, name: str, within: float | None) -> None:
        async with self.slots.hold(self.place, interactive=name.startswith("p"), within=within):
            self.inside.append(name)
            try:
                await self._doors[name].wait()
            finally:
                self.inside.remove(name)

    @property
    def load(self) -> Load:
        return self.slots.load(self.place.endpoint)


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def test_people_are_not_held_back_without_a_limit() -> None:
    room = Room(SERVER)
    await room.enter(*(f"p{i}" for i in range(50)))
    assert len(room.inside) == 50
    await room.leave(*(f"p{i}" for i in range(50)))
    assert list(room.slots.loads()) == []


async def test_a_limit_holds_and_the_first_to_come_is_the_first_to_go() -> None:
    room = Room(NARROW)
    await room.enter("p1", "p2", "p3", "p4")
    assert (room.inside, room.load) == (["p1", "p2"], Load(2, 0, 2, 0))
    await room.leave("p2")
    assert room.inside == ["p1", "p3"]
    await room.enter("p5")
    await room.leave("p1", "p3")
    assert room.inside == ["p4", "p5"]


async def test_an_agent_waits_while_a_person_is_served_or_waits() -> None:
    room = Room(NARROW)
    await room.enter("p1", "a1")
    assert room.inside == ["p1"]  # although a second slot is free
    await room.enter("p2", "p3")
    await room.leave("p1")
    assert room.inside == ["p2", "p3"]
    await room.leave("p2")
    assert (room.inside, room.load.agents_waiting) == (["p3"], 1)
    await room.leave("p3")
    assert room.inside == ["a1"]


async def test_an_agent_at_work_is_not_interrupted_and_a_person_passes_those_that_wait() -> None:
    room = Room(NARROW)
    await room.enter("a1", "a2", "a3", "p1", "p2")
    assert room.inside == ["a1", "a2"]  # so many as the limit allows
    await room.leave("a1")
    assert room.inside == ["a2", "p1"]
    await room.leave("a2", "p1", "p2")
    assert room.inside == ["a3"]


async def test_agents_go_one_at_a_time_where_there_is_no_limit() -> None:
    room = Room(SERVER)
    await room.enter("a1", "a2", "p1")
    assert room.inside == ["a1", "p1"]
    await room.leave("a1")
    assert room.inside == ["p1"]
    await room.leave("p1")
    assert room.inside == ["a2"]


async def test_one_who_gives_up_makes_way() -> None:
    room = Room(NARROW)
    await room.enter("p1", "p2", "p3", "a1")
    await room.give_up("p3", "p1", "p2")
    assert (room.inside, room.load) == (["a1"], Load(0, 1, 0, 0))


async def test_a_slot_given_to_one_who_is_cancelled_at_that_moment_goes_on() -> None:
    room = Room(Place("x", 1))
    await room.enter("p1", "p2", "p3")
    room._doors["p1"].set()
    await asyncio.sleep(0)  # p1 leaves in this turn of the loop, and p2's slot is counted before p2 has run
    room.tasks["p2"].cancel()
    await settle()
    assert room.inside == ["p3"]


async def test_waiting_has_an_end() -> None:
    room = Room(Place("x", 1))
    await room.enter("p1")
    await room.enter("p2", within=0.01)
    with pytest.raises(TimeoutError):
        await room.tasks["p2"]
    assert room.load == Load(1, 0, 0, 0)
    await room.leave("p1")
    assert room.load == Load(0, 0, 0, 0)


async def test_a_higher_limit_lets_those_in_who_wait() -> None:
    room = Room(Place("x", 1))
    await room.enter("p1", "p2")
    room.place = Place("x", 3)
    await room.enter("p3")
    assert sorted(room.inside) == ["p1", "p2", "p3"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["person", "agent", "leave", "cancel", "breathe"]), st.integers(0, 9)), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, limit=st.sampled_from([None, 1, 2, 3]))
def test_whatever_happens_nobody_is_forgotten(steps: list[tuple[str, int]], limit: int | None) -> None:
    async def run() -> None:
        room = Room(Place("x", limit))
        names: list[str] = []
        for number, (step, which) in enumerate(steps):
            if step in ("person", "agent"):
                names.append(f"{step[0]}{number}")
                room._doors[names[-1]] = asyncio.Event()
                room.tasks[names[-1]] = asyncio.create_task(room._stay(names[-1], None))
            elif step == "breathe":
                await asyncio.sleep(0)
            elif names:
                name = names[which % len(names)]
                room._doors[name].set() if step == "leave" else room.tasks[name].cancel()
            if limit is not None:
                assert len(room.inside) <= limit
        await settle()
        people, waiting = room.load.people, room.load.people_waiting
        assert not (waiting and (limit is None or people + room.load.agents < limit))  # no slot idle beside a wait
        assert not (room.load.agents_waiting and not people and not waiting and not room.load.agents)
        for door in room._doors.values():
            door.set()
        ended = await asyncio.wait_for(asyncio.gather(*room.tasks.values(), return_exceptions=True), 5)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert list(room.slots.loads()) == []

    asyncio.run(run())


async def test_a_hundred_at_once_cancelled_at_random() -> None:
    chance, slots, place, most = random.Random(7), Slots(), Place("x", 3), 0

    async def caller(person: bool) -> None:
        nonlocal most
        async with slots.hold(place, interactive=person):
            most = max(most, slots.load("x").people + slots.load("x").agents)
            await asyncio.sleep(chance.random() / 500)

    tasks = [asyncio.create_task(caller(chance.random() < 0.7)) for _ in range(100)]
    for task in chance.sample(tasks, 40):
        await asyncio.sleep(chance.random() / 1000)
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert most == 3
    assert list(slots.loads()) == []


async def test_nobody_in_the_way_costs_next_to_nothing() -> None:
    slots, best = Slots(), float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(2_000):
            async with slots.hold(SERVER, interactive=True):
                pass
        best = min(best, (time.process_time() - started) / 2_000)
    assert best < 20e-6  # measured: below 2 µs; the rest is for a busy machine


def spec(provider: str, location: Location, api_base: str | None) -> ModelSpec:
    return ModelSpec(
        id=f"{provider}/m",
        provider=provider,
        wire=provider,
        name="m",
        endpoint=Endpoint(api_base, location, ""),
        context_window=Sourced(8192, Source.CONFIG),
        max_output_tokens=Sourced(None, Source.DEFAULT),
        price=Sourced(None, Source.DEFAULT),
        tokenizer="llama3",
    )


def test_where_a_slot_is_taken() -> None:
    local = spec("ollama", Location.LOOPBACK, "http://127.0.0.1:11434")
    cloud = spec("openai", Location.CLOUD, None)
    limited = {"ollama": ProviderEntry(concurrency=4), "openai": ProviderEntry(concurrency=8)}
    assert place_of(local, {}) == Place("http://127.0.0.1:11434", None)
    assert place_of(local, limited) == Place("http://127.0.0.1:11434", 4)
    assert place_of(cloud, {}) is None
    assert place_of(cloud, limited) == Place("openai", 8)
    assert place_of(spec("builtin", Location.IN_PROCESS, None), {}) is None
    embedded = spec("embedded", Location.LOOPBACK, None)
    assert place_of(embedded, {}) == place_of(replace(embedded, name="other"), {}) == Place("embedded", None)
