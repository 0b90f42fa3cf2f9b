"""A process that runs agents on the real scheduler, for the drills that kill or stop it.

    python -m tests.drills.agents_child FOLDER COUNT GRACE

Writes to FOLDER/said, one line each: `ready`, `begin AGENT DUE RUN`, `end RUN` (the agent's own work is done) and
`over RUN STATE` (the end is on disk).
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from app.agents.base import Agent, AgentContext, AgentResult
from app.agents.records import Outcome, Run
from app.agents.scheduler import AgentScheduler
from tests.fakes.agents import open_agent_service


class Saying(Agent):
    name, description = "saying", "Says when it begins and when it ends."

    def __init__(self, say: int) -> None:
        self._say = say

    async def run(self, context: AgentContext) -> AgentResult:
        os.write(self._say, f"begin {context.agent} {context.scheduled_at:%H:%M:%S} {context.run_id}\n".encode())
        await asyncio.sleep(random.random() * 0.5)
        os.write(self._say, f"end {context.run_id}\n".encode())
        return AgentResult("said")


async def main(folder: Path, count: int, grace: float) -> None:
    say = os.open(folder / "said", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    entries = [
        {"name": f"a{n}", "agent": "saying", "schedule": "* * * * * *", "grace_seconds": grace} for n in range(count)
    ]
    async with open_agent_service(folder, [Saying(say)], entries, max_running=count) as opened:
        told = opened.service.runs._ended

        def ended(run: Run, outcome: Outcome, private: bool) -> None:
            os.write(say, f"over {run.id} {outcome.state.value}\n".encode())
            told(run, outcome, private)

        opened.service.runs._ended = ended
        scheduler = AgentScheduler(opened.service, opened.clock.now, pulse_seconds=1.0)
        scheduler.start()
        os.write(say, b"ready\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
