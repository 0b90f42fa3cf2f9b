"""The guide's `explain` output, against the sidecar with the files that ship."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from tests.fakes.sidecar import TOKEN, running_sidecar

ROOT = Path(__file__).parents[2]


async def test_what_the_routing_page_shows_is_what_is_said(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guide" / "routing.md").read_text("utf-8")
    shown = re.findall(r"```console\n\$ llm-sidecar (.*?)\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 2
    shutil.copytree(ROOT / "config", tmp_path / "config")
    async with running_sidecar(tmp_path) as sidecar:
        for arguments, output in shown:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app", *shlex.split(arguments)),
                env={**os.environ, "SIDECAR_PORT": str(sidecar.settings.port), "SIDECAR_TOKEN": TOKEN},
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await process.communicate()
            assert process.returncode == 0
            # The page leaves out what comes after: it depends on the machine.
            assert said.decode().startswith(output.rstrip("\n"))
