"""The egress policy as a value, and the audit hook behind it (in a process of its own: a hook cannot be removed)."""

from __future__ import annotations

import ipaddress
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import EgressBlocked
from app.llm.egress import (
    EgressPolicy,
    applying,
    check_address,
    check_host,
    is_localhost,
    is_loopback,
    parse_ip,
    running_policy,
)

LOCAL = EgressPolicy.local_only()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.254", "127.0.0.0", "::1", "0:0:0:0:0:0:0:1"])
def test_loopback(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "::",
        "128.0.0.1",
        "126.255.255.255",
        "10.0.0.1",
        "192.168.1.10",
        "169.254.169.254",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "::1%eth0",
        "fe80::1",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.evil.com",
        "localhost",
        "",
    ],
)
def test_not_loopback(address: str) -> None:
    assert not is_loopback(address)


@given(st.ip_addresses())
def test_a_local_only_policy_permits_loopback_and_nothing_else(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    expected = address in ipaddress.ip_network("127.0.0.0/8") or str(address) == "::1"
    try:
        check_address(LOCAL, address, "somewhere")
        permitted = True
    except EgressBlocked:
        permitted = False
    assert permitted == expected


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "ollama.localhost", "127.0.0.1", "[::1]"])
def test_hosts_of_this_machine(host: str) -> None:
    check_host(LOCAL, host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.evil.com",
        "evil-localhost",
        "127.0.0.1.evil.com",
        "2130706433",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "example.com",
        "gpu-box",
        "",
    ],
)
def test_foreign_hosts_are_refused_before_a_look_up(host: str) -> None:
    with pytest.raises(EgressBlocked, match="trusted_hosts"):
        check_host(LOCAL, host)


def test_trusted_names_and_addresses() -> None:
    policy = EgressPolicy.local_only(["GPU-Box.", "10.0.0.7", "[fd00::7]"])
    check_host(policy, "gpu-box")
    check_host(policy, "10.0.0.7")
    check_host(policy, "fd00::7")
    check_address(policy, "10.0.0.7", "10.0.0.7")
    check_address(policy, "192.168.3.4", "gpu-box")
    check_address(policy, "100.64.0.9", "gpu-box")
    with pytest.raises(EgressBlocked):
        check_address(policy, "192.168.3.4", "other-box")
    with pytest.raises(EgressBlocked):
        check_address(policy, "10.0.0.8", "10.0.0.8")


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "::ffff:192.168.1.1", "64:ff9b::808:808",
        "64:ff9b:1::808:808", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::8.8.8.8", "169.254.169.254",
        "198.18.0.1", "240.0.0.1", "192.0.0.8",
    ],
)  # fmt: skip
def test_a_trusted_name_must_not_lead_to_the_internet(address: str) -> None:
    with pytest.raises(EgressBlocked, match="on the internet"):
        check_address(EgressPolicy.local_only(["gpu-box"]), address, "gpu-box")
    listed = str(ipaddress.ip_address(address))
    check_address(EgressPolicy.local_only([listed]), address, listed)  # unless the address itself is listed


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "nonsense"])
def test_addresses_that_are_nobodys(address: str) -> None:
    with pytest.raises(EgressBlocked):
        check_address(EgressPolicy.local_only(["gpu-box"]), address, "gpu-box")


def test_a_cloud_policy_permits_what_a_local_one_refuses() -> None:
    check_host(EgressPolicy.cloud_allowed(), "api.example.com")
    check_address(EgressPolicy.cloud_allowed(), "93.184.216.34", "api.example.com")


def test_applying_ends_with_its_block() -> None:
    assert running_policy() is None
    with applying(LOCAL):
        assert running_policy() is LOCAL
    assert running_policy() is None


def test_legacy_spellings_are_no_addresses() -> None:
    assert parse_ip("127.1") is None
    assert is_localhost("a.localhost")
    assert not is_localhost("localhostx")


HOOKED = """
import asyncio, socket
from app.errors import EgressBlocked
from app.llm.egress import EgressPolicy, applying, install_audit_hook
install_audit_hook(); install_audit_hook()

server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
local = EgressPolicy.local_only(["10.1.2.3"])

def refused(act):
    try:
        act()
    except EgressBlocked:
        return True
    except OSError:
        return False
    return False

def connect(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(0.05)
        s.connect(address)

def send_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", ("192.0.2.1", 53))

async def by_asyncio(host):
    reader, writer = await asyncio.open_connection(host, port)
    writer.close()

with applying(local):
    assert refused(lambda: connect(("192.0.2.1", 9)))
    assert refused(lambda: connect(("0.0.0.0", port)))
    assert refused(lambda: connect(("::ffff:127.0.0.1", port), socket.AF_INET6))
    assert refused(lambda: connect(("<broadcast>", 9)))
    assert refused(lambda: connect(("", port)))
    assert refused(send_datagram)
    assert refused(lambda: socket.getaddrinfo("example.invalid", 80))
    assert refused(lambda: socket.getaddrinfo(b"example.invalid", 80))
    assert refused(lambda: socket.gethostbyname("example.invalid"))
    assert refused(lambda: asyncio.run(by_asyncio("192.0.2.1")))
    assert not refused(lambda: connect(("127.0.0.1", port)))
    assert not refused(lambda: connect(("10.1.2.3", 9)))
    assert not refused(lambda: socket.getaddrinfo("localhost", port))
    assert not refused(lambda: socket.getaddrinfo(None, port))
    assert not refused(lambda: asyncio.run(by_asyncio("127.0.0.1")))
with applying(EgressPolicy.cloud_allowed()):
    assert not refused(lambda: connect(("192.0.2.1", 9)))
assert not refused(lambda: connect(("192.0.2.1", 9)))
print("held")
"""


def test_the_audit_hook_refuses_what_goes_round_the_transport() -> None:
    done = subprocess.run([sys.executable, "-c", HOOKED], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.strip(), done.stderr) == ("held", "")
