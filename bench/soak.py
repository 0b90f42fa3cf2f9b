"""What many requests leave behind: nothing lost, no memory, no descriptor; and an end in time with all streams open.

    python bench/soak.py [--requests 50000]

A sidecar in a process of its own and a fake Ollama on loopback. Resident memory is read from outside, when the sidecar
is idle again. The two share the machine with this program, so times are upper bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.drills.processes import Drill, Running, Stream
from tests.fakes.providers import FakeProvider, Reply

STREAMS, AT_ONCE = 1000, 64
MB = 1e6


@dataclass(frozen=True)
class Standing:
    resident: float
    """MB."""
    descriptors: int


async def standing(sidecar: Running) -> Standing:
    """Once it is idle: connections that are kept open for a while are closed by their time-outs, not by us."""
    await asyncio.sleep(3)
    process = psutil.Process(sidecar.process.pid)
    return Standing(process.memory_info().rss / MB, process.num_fds())


async def many(sidecar: Running, count: int) -> tuple[int, float]:
    """`count` streams, `AT_ONCE` at a time: how many ended with `done`, and the seconds it took."""
    room, ended = asyncio.Semaphore(AT_ONCE), 0

    async def one() -> None:
        nonlocal ended
        async with room:
            stream = await sidecar.stream(Stream())
            ended += [event.name for event in stream.ends] == ["done"]

    began = time.monotonic()
    for start in range(0, count, 1000):
        await asyncio.gather(*(one() for _ in range(min(1000, count - start))))
    return ended, time.monotonic() - began


def tell(what: str, ended: int, count: int, seconds: float, before: Standing, after: Standing) -> None:
    grown = after.resident - before.resident
    print(
        f"| {what} | {ended} of {count} | {count / seconds:.0f}/s | {before.resident:.1f} → {after.resident:.1f} MB "
        f"({grown:+.1f} MB, {grown / before.resident:+.1%}) | {before.descriptors} → {after.descriptors} |",
        flush=True,
    )


async def stop_with_open_streams(drill: Drill, provider: FakeProvider) -> None:
    async with drill.running() as sidecar:
        provider.always(Reply(("a ",) * 10_000, delay=0.05))
        streams = [Stream() for _ in range(AT_ONCE)]
        reading = [asyncio.create_task(sidecar.stream(stream)) for stream in streams]
        while not all("event: token" in stream.text for stream in streams):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)
        sidecar.process.terminate()
        status, seconds, _ = await sidecar.end()
        await asyncio.gather(*reading)
    told = sum([event.name for event in stream.ends] == ["error"] for stream in streams)
    print(f"\nSIGTERM with {AT_ONCE} open streams: exit {status} after {seconds:.2f} s, {told} terminal events")


async def main(requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with FakeProvider() as provider:
            drill = Drill(Path(folder), provider.url)
            provider.always(Reply(("a ",) * 20, delay=0.002))
            print("| load | ended with `done` | rate | resident, idle | descriptors |\n| --- | --- | --- | --- | --- |")
            async with drill.running() as sidecar:
                # What is imported, pooled and cached once is no leak.
                await many(sidecar, 2 * AT_ONCE)
                before = await standing(sidecar)
                ended, seconds = await many(sidecar, STREAMS)
                after = await standing(sidecar)
                tell(f"{STREAMS} streams, {AT_ONCE} at once", ended, STREAMS, seconds, before, after)
                provider.always(Reply(("a ",) * 3))
                provider.requests.clear()
                ended, seconds = await soak(sidecar, provider, requests)
                tell(f"{requests} requests", ended, requests, seconds, after, await standing(sidecar))
            lost = STREAMS + requests + 2 * AT_ONCE + 1 - len(drill.rows())
            print(f"\nrows missing from the ledger: {lost}")
            await stop_with_open_streams(drill, provider)


async def soak(sidecar: Running, provider: FakeProvider, requests: int) -> tuple[int, float]:
    ended, seconds = 0, 0.0
    for start in range(0, requests, 5000):
        more, took = await many(sidecar, min(5000, requests - start))
        ended, seconds = ended + more, seconds + took
        provider.requests.clear()  # this program's memory, not the sidecar's
    return ended, seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2000, help="of the soak; 50000 in the long form")
    asyncio.run(main(parser.parse_args().requests))
