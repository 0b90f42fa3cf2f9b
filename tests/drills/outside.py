"""A world outside that can be watched: a network namespace whose loopback device carries a second address.

`run_scenario("package.module:function")` starts a Python in a namespace of its own, in which 10.99.0.1 plays the
internet and is also the only name server, and calls `async def function(outside: Outside) -> dict` there. Whatever the
function returns comes back, together with every connection and every name look-up that reached the outside.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ADDRESS = "10.99.0.1"
ROOT = Path(__file__).parents[2]
_SETUP = f"""
set -e
ip link set lo up
ip addr add {ADDRESS}/32 dev lo
mount --bind "$RESOLV_CONF" /etc/resolv.conf
exec "$@"
"""


@dataclass
class Outside:
    """What the outside has seen. `url` is an HTTP server there which answers every POST with `{{}}`."""

    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head.partition("\r\n")[0])
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class _NameServer(asyncio.DatagramProtocol):
    """Says that no name exists, and notes which were asked for."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
            at += data[at] + 1
        self._outside.lookups.append(".".join(labels))
        answer = data[:2] + b"\x81\x83" + data[4:6] + b"\0" * 6 + data[12 : at + 5]
        assert isinstance(self._transport, asyncio.DatagramTransport)
        self._transport.sendto(answer, addr)


Scenario = Callable[[Outside], Awaitable[dict[str, Any]]]


def _command(*inner: str) -> list[str]:
    return ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", _SETUP, "sh", *inner]


def _run(command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolv:
        resolv.write(f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
        resolv.flush()
        # A proxy of the machine this runs on is not part of the world inside.
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment = {**kept, "RESOLV_CONF": resolv.name, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT, env=environment
        )


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot give a process a network of its own; None where it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if missing := [tool for tool in ("unshare", "ip", "mount") if shutil.which(tool) is None]:
        return f"{', '.join(missing)} not installed"
    tried = _run(_command("true"), timeout=20)
    return None if tried.returncode == 0 else f"not permitted here: {tried.stderr.strip()[:200]}"


def run_scenario(name: str, timeout: float = 50) -> dict[str, Any]:
    """`{"result": …, "outside": {"connections": …, "requests": […], "lookups": […]}}`."""
    done = _run(_command(sys.executable, "-m", "tests.drills.outside", name), timeout)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


async def _inside(name: str) -> None:
    module, _, function = name.partition(":")
    scenario: Scenario = getattr(importlib.import_module(module), function)
    outside = Outside()
    async with await asyncio.start_server(outside.serve, ADDRESS, 0) as listener:
        outside.port = listener.sockets[0].getsockname()[1]
        names, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _NameServer(outside), local_addr=(ADDRESS, 53)
        )
        result = await scenario(outside)
        await asyncio.sleep(0.1)
        names.close()
    print(json.dumps({"result": result, "outside": asdict(outside)}))


if __name__ == "__main__":
    asyncio.run(_inside(sys.argv[1]))
