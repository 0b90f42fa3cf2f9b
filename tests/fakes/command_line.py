"""The command line as people run it: a process of its own, which this one's settings do not reach."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.fakes.scripted_sidecar import Script
from tests.fakes.sidecar import TOKEN, RunningSidecar

ROOT = Path(__file__).resolve().parents[2]


def environment_in(folder: Path) -> dict[str, str]:
    """Of a person whose home is this folder, who set nothing but where the sidecar's files are."""
    (folder / "data").mkdir()
    (folder / "data" / "token").write_text(TOKEN)
    return without_settings() | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "SIDECAR_DATA_DIR": str(folder / "data"),
        "SIDECAR_CONFIG_DIR": str(ROOT / "config"),
        "HOME": str(folder),
        "HTTP_PROXY": "http://127.0.0.1:9",  # nothing may go there
        "PYTHONIOENCODING": "utf-8",
    }


def without_settings() -> dict[str, str]:
    """This process's environment, less what would set a sidecar up or give it keys."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR_") and not k.endswith("_API_KEY")}


def run(
    arguments: list[str], environment: dict[str, str], script: Script | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    extra = {} if script is None else {"SIDECAR_PORT": str(script.port)}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environment | extra,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=40,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def cli(sidecar: RunningSidecar, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command that asks this sidecar."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        cwd=ROOT,
        env=without_settings() | {"SIDECAR_PORT": str(sidecar.settings.port), "SIDECAR_TOKEN": TOKEN},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
