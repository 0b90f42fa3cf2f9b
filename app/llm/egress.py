"""Where a call may connect to: the policy as a value, and the last line of defence behind it.

Three locks stand on the same door. The routing policy keeps cloud models out of a private route; `app.llm.client`
refuses them again at each attempt; and `app.llm.transport` checks the very address of every socket it opens against an
`EgressPolicy`. This file holds that check, and an audit hook that catches what does not go through our transport at
all: a library that opens a socket of its own, or looks a name up, while a local-only call is running.

The hook sees Python's `socket` module only. uvloop connects in C and raises no audit event, so under uvloop the hook
covers synchronous sockets and name look-ups; the transport, which never relies on the hook, is the enforcement.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from app.errors import EgressBlocked
from app.routing.locality import in_private_range

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")


def parse_ip(text: str) -> IPAddress | None:
    """The address `text` spells in its canonical form, or None. `2130706433`, `127.1` and `0x7f.1` are not addresses
    here, although the C library would read them as one."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_loopback(address: str | IPAddress) -> bool:
    """True for 127.0.0.0/8 and ::1 and nothing else: not 0.0.0.0, not `::ffff:127.0.0.1`, not a name."""
    ip = parse_ip(address) if isinstance(address, str) else address
    if isinstance(ip, ipaddress.IPv4Address):
        return ip in _LOOPBACK_V4
    return ip == _LOOPBACK_V6


def normal_host(host: str) -> str:
    """A host as it is compared: lower case, no brackets, no trailing dot."""
    return host.strip().strip("[]").rstrip(".").lower()


def is_localhost(host: str) -> bool:
    """True for `localhost` and `*.localhost`, which are loopback by definition (RFC 6761) and never looked up."""
    name = normal_host(host)
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What a call may connect to.

    `allows_cloud` False: loopback and `trusted_hosts` only. A trusted host is an address, or a name; a name's address
    must lie in a private range, so that whoever answers a name look-up in a foreign network cannot draw a private
    workspace out to the internet.
    """

    allows_cloud: bool
    trusted_hosts: frozenset[str] = frozenset()

    @classmethod
    def local_only(cls, trusted_hosts: Iterable[str] = ()) -> EgressPolicy:
        return cls(False, frozenset(map(normal_host, trusted_hosts)))

    @classmethod
    def cloud_allowed(cls, trusted_hosts: Iterable[str] = ()) -> EgressPolicy:
        return cls(True, frozenset(map(normal_host, trusted_hosts)))

    def trusts(self, host: str) -> bool:
        return normal_host(host) in self.trusted_hosts

    def trusting_also(self, addresses: Iterable[str]) -> EgressPolicy:
        """The same with addresses that a trusted name was found at, after `check_address` has passed each."""
        return replace(self, trusted_hosts=self.trusted_hosts | frozenset(addresses))


def check_host(policy: EgressPolicy, host: str) -> None:
    """Refuse a host before anything is looked up. Raises `EgressBlocked`.

    Passing is not yet permission to connect: a trusted name still has to resolve to a permitted address.
    """
    if policy.allows_cloud or is_localhost(host) or is_loopback(normal_host(host)) or policy.trusts(host):
        return
    raise EgressBlocked(
        f"{_shown(host)} is not on this machine and this request may not leave it; "
        "a host of your own network can be listed under trusted_hosts in models.yaml"
    )


def check_address(policy: EgressPolicy, ip: str | IPAddress, host: str) -> None:
    """Refuse the address a socket is about to connect to. `host` is the name that led to it. Raises `EgressBlocked`."""
    address = parse_ip(ip) if isinstance(ip, str) else ip
    if policy.allows_cloud or (address is not None and is_loopback(address)):
        return
    if address is None or address.is_unspecified or address.is_multicast:
        raise EgressBlocked(f"{_shown(host)} has no address this machine may connect to")
    if policy.trusts(str(address)):
        return
    if not policy.trusts(host):
        raise EgressBlocked(f"{_shown(host)} ({address}) is not on this machine and this request may not leave it")
    if not in_private_range(address):
        raise EgressBlocked(
            f"the trusted host {_shown(host)} resolves to {address}, which is on the internet or nobody's own; "
            "list the address itself under trusted_hosts if that is meant"
        )


def _shown(host: str) -> str:
    return repr(host[:100])


_running: ContextVar[EgressPolicy | None] = ContextVar("egress_policy", default=None)


def running_policy() -> EgressPolicy | None:
    """The policy of the call that runs in this context, or None where no call said anything."""
    return _running.get()


@contextmanager
def applying(policy: EgressPolicy) -> Iterator[None]:
    """Make `policy` the one the audit hook enforces in this task, and in tasks and threads that inherit its context.

    Enter and leave it in one coroutine: across the `yield` of an async generator it would leak into the consumer.
    """
    token = _running.set(policy)
    try:
        yield
    finally:
        _running.reset(token)


def apply_for_task(policy: EgressPolicy) -> None:
    """Like `applying`, until the current task ends: for the task that serves one request, generators included."""
    _running.set(policy)


_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_installed = False


def install_audit_hook() -> None:
    """Refuse, from now on and for the life of the process, what a running local-only call may not connect to.

    Idempotent: an audit hook cannot be taken away again. It raises `EgressBlocked` out of the connect or the look-up.
    """
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True


def _audit(event: str, args: tuple[Any, ...]) -> None:
    # Called for every audited event of the process: anything but sockets must leave at once.
    if not event.startswith("socket."):
        return
    policy = _running.get()
    if policy is None or policy.allows_cloud:
        return
    if event in _CONNECTS:
        _check_target(policy, args[1])
    elif event in _LOOKUPS and args[0] is not None:
        host = os.fsdecode(args[0])
        if parse_ip(host) is None:  # spelling out an address asks nobody; the connect is checked by itself
            check_host(policy, host)


def _check_target(policy: EgressPolicy, target: object) -> None:
    """`target` is what was given to `connect`: a path for a Unix socket, else a tuple that begins with the host."""
    if not isinstance(target, tuple) or not target or not isinstance(target[0], str):
        return
    host = target[0]
    if parse_ip(host) is None:
        # C has resolved the name by now, and to what cannot be seen from here: the look-up is beyond this hook, and
        # the connection is refused.
        if not is_localhost(host):
            raise EgressBlocked(f"{_shown(host)} was connected to by name while a local-only request was running")
        return
    check_address(policy, host, host)
