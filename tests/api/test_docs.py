"""The guide's `explain` output, against the sidecar with the files that ship."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from tests.fakes.command_line import ROOT, cli
from tests.fakes.sidecar import running_sidecar


async def test_what_the_routing_page_shows_is_what_is_said(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guide" / "routing.md").read_text("utf-8")
    shown = re.findall(r"```console\n\$ llm-sidecar (.*?)\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 2
    shutil.copytree(ROOT / "config", tmp_path / "config")
    async with running_sidecar(tmp_path) as sidecar:
        for arguments, output in shown:
            status, said, _ = await cli(sidecar, *shlex.split(arguments))
            assert status == 0
            # The page leaves out what comes after: it depends on the machine.
            assert said.startswith(output.rstrip("\n"))
