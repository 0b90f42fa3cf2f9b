"""The egress proof, watched from outside: in a network of its own, nothing of a local-only call gets there.

Each scenario has its control, which does get there: a silent wire proves nothing by itself.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import AttemptError
from app.llm.egress import EgressPolicy
from app.llm.transport import Transport
from tests.drills.outside import ADDRESS, Outside, run_scenario, why_not


@pytest.fixture(autouse=True)
def _namespace() -> None:
    if reason := why_not():
        pytest.skip(f"no network namespace: {reason}")


async def ask(transport: Transport, url: str, *, local: bool) -> str:
    """The error's code, or `reached`."""
    try:
        async with transport.post(url, {}, b'{"prompt": "private"}', local=local) as response:
            return "reached" if response.status == 200 else str(response.status)
    except AttemptError as error:
        return error.code


async def local_only(outside: Outside) -> dict[str, Any]:
    """Everything a private workspace's configuration could wrongly point at."""
    port = outside.port
    hosts = [ADDRESS, f"[::ffff:{ADDRESS}]", "0.0.0.0", "174260225", "api.example.com", "127.0.0.1.evil.example"]
    async with Transport() as transport:
        return {host: await ask(transport, f"http://{host}:{port}/v1/chat", local=True) for host in hosts}


async def public(outside: Outside) -> dict[str, Any]:
    async with Transport() as transport:
        return {
            "address": await ask(transport, f"{outside.url}/v1/chat", local=False),
            "name": await ask(transport, f"http://api.example.com:{outside.port}/", local=False),
        }


async def trusted(outside: Outside) -> dict[str, Any]:
    async with Transport(EgressPolicy.local_only([ADDRESS])) as transport:
        return {"address": await ask(transport, f"{outside.url}/v1/chat", local=True)}


def test_nothing_of_a_local_only_call_leaves() -> None:
    answer = run_scenario(f"{__name__}:local_only")
    assert set(answer["result"].values()) == {"egress_blocked"}
    assert (answer["outside"]["connections"], answer["outside"]["lookups"]) == (0, [])


def test_the_control_reaches_the_outside() -> None:
    answer = run_scenario(f"{__name__}:public")
    assert answer["result"] == {"address": "reached", "name": "unreachable"}
    assert answer["outside"]["requests"] == ["POST /v1/chat HTTP/1.1"]
    assert "api.example.com" in answer["outside"]["lookups"]


def test_a_trusted_address_is_reached_by_a_local_only_call() -> None:
    answer = run_scenario(f"{__name__}:trusted")
    assert (answer["result"], answer["outside"]["connections"]) == ({"address": "reached"}, 1)
