"""Where an endpoint really is, decided from its address and never from a model's name.

A name can only make a model more remote (Ollama serves `…-cloud` models from its own machines), and so can a
`location` in the configuration. Whatever is unclear is cloud: a private workspace is refused rather than guessed about.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import urlsplit

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Location(StrEnum):
    """Nearest first. Only `cloud` is forbidden to a private workspace."""

    IN_PROCESS = "in_process"
    LOOPBACK = "loopback"
    TRUSTED = "trusted"
    CLOUD = "cloud"

    @property
    def is_local(self) -> bool:
        """True where a private workspace may go."""
        return self is not Location.CLOUD


IN_PROCESS_PROVIDERS = frozenset({"builtin", "embedded"})
"""Answered by this program itself; `embedded` over a loopback port that only this program knows the key of."""

_DISTANCE = {location: distance for distance, location in enumerate(Location)}
_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
)
"""RFC 1918, RFC 6598 (overlay networks such as Tailscale's), RFC 4193, and what mDNS finds on the link."""
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)


def locate(
    provider: str,
    name: str,
    api_base: str | None,
    *,
    trusted_hosts: Collection[str] = (),
    addresses: Mapping[str, Sequence[str]] | None = None,
    declared: Sequence[str | None] = (),
) -> tuple[Location, str]:
    """The location of model `name`, asked at `api_base`, and one short sentence that says why.

    `api_base` None is litellm's own address of the provider, which is cloud. `trusted_hosts` are host names and
    addresses, compared exactly and without regard to case. `addresses` is what the machine's own hosts file says about
    names; no name is looked up anywhere. `declared` are the `location`s of the configuration: they make the answer more
    remote, never less.
    """
    found = _located(provider, name, api_base, trusted_hosts, addresses or {})
    for text in declared:
        stated = Location(text) if text is not None else None
        if stated is not None and _DISTANCE[stated] > _DISTANCE[found[0]]:
            found = stated, f"the configuration says location: {stated.value}"
    return found


def _located(
    provider: str, name: str, api_base: str | None, trusted: Collection[str], addresses: Mapping[str, Sequence[str]]
) -> tuple[Location, str]:
    if provider in IN_PROCESS_PROVIDERS:
        return Location.IN_PROCESS, "runs inside the sidecar"
    if api_base is None:
        return Location.CLOUD, f"asked at the public address of {provider}"
    location, reason = locate_url(api_base, trusted, addresses)
    if location.is_local and runs_elsewhere(name):
        return Location.CLOUD, f"{name[:100]} is named as a cloud model: Ollama passes it on to its own servers"
    return location, reason


def runs_elsewhere(name: str) -> bool:
    """True for Ollama's names of models it runs on its own servers: `gpt-oss:120b-cloud`, `glm-4.6:cloud`.

    Asked of every local endpoint, since an Ollama server also answers under OpenAI's protocol.
    """
    return any(part == "cloud" or part.endswith("-cloud") for part in re.split("[:@]", name.lower()))


def locate_url(
    api_base: str, trusted_hosts: Collection[str] = (), addresses: Mapping[str, Sequence[str]] | None = None
) -> tuple[Location, str]:
    """The location of the host in a URL, and why. Never raises: a malformed URL is cloud."""
    host = host_of(api_base)
    if host is None:
        return Location.CLOUD, "its api_base is not a plain http(s) URL, so nothing is known about where it leads"
    return locate_host(host, trusted_hosts, addresses or {})


def host_of(api_base: str) -> str | None:
    """The host in a base URL, lower case and without brackets; None where the URL is not a plain http(s) one."""
    if "\\" in api_base or "@" in api_base or not api_base.isascii() or any(c <= " " or c == "\x7f" for c in api_base):
        return None
    try:
        url = urlsplit(api_base)
        _ = url.port  # raises where it is no number
    except ValueError:
        return None
    if url.scheme not in ("http", "https") or not url.hostname:
        return None
    return normal_host(url.hostname)


def normal_host(host: str) -> str:
    """A host as it is compared: lower case, no brackets, no trailing dot."""
    return host.strip().removeprefix("[").removesuffix("]").removesuffix(".").lower()


def locate_host(
    host: str, trusted_hosts: Collection[str], addresses: Mapping[str, Sequence[str]]
) -> tuple[Location, str]:
    """The location of a normalised host, and why."""
    trusted = {normal_host(each) for each in trusted_hosts}
    ip = parse_ip(host)
    if ip is not None:
        return _locate_ip(ip, trusted)
    if host == "localhost" or host.endswith(".localhost"):
        return Location.LOOPBACK, f"{host} is this machine by definition (RFC 6761)"
    if not _NAME.fullmatch(host) or _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        # The C library reads 2130706433, 0x7f.1 and 127.1 as addresses; what others read as one is not known.
        return Location.CLOUD, f"{host[:100]} is neither a host name nor an address in its usual form"
    return _locate_name(host, trusted, addresses.get(host, ()))


def parse_ip(text: str) -> IPAddress | None:
    """The address that `text` spells in its canonical form, or None."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_loopback(ip: IPAddress | None) -> bool:
    """True for 127.0.0.0/8 and ::1 and nothing else: not `::ffff:127.0.0.1`, which some stacks route elsewhere."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip in _LOOPBACK_V4
    return ip == _LOOPBACK_V6


def in_private_range(ip: IPAddress) -> bool:
    """True where the address is one of a home's or a company's own network, or of this machine.

    Listed rather than asked of `ipaddress`: what counts as global there differs between Pythons, and IPv4-mapped,
    6to4, Teredo and NAT64 addresses lead to the internet whatever range they are in. Nor is 169.254.0.0/16, where
    metadata services live, anybody's own machine.
    """
    return is_loopback(ip) or any(ip.version == network.version and ip in network for network in _PRIVATE)


def _locate_ip(ip: IPAddress, trusted: Collection[str]) -> tuple[Location, str]:
    if is_loopback(ip):
        return Location.LOOPBACK, f"{ip} is this machine"
    if ip.is_unspecified or ip.is_multicast or ip.is_link_local:
        return Location.CLOUD, f"{ip} is not an address of one certain machine"
    if str(ip) in trusted:
        return Location.TRUSTED, f"{ip} is listed in trusted_hosts"
    return Location.CLOUD, f"{ip} is neither loopback nor listed in trusted_hosts"


def _locate_name(host: str, trusted: Collection[str], addresses: Sequence[str]) -> tuple[Location, str]:
    found = [parse_ip(address) for address in addresses]
    if found and all(map(is_loopback, found)):
        return Location.LOOPBACK, f"{host} is this machine, by its hosts file"
    if host in trusted:
        strangers = [ip for ip in found if ip is not None and not in_private_range(ip) and str(ip) not in trusted]
        if strangers:
            return (
                Location.CLOUD,
                f"{host} is listed in trusted_hosts but leads to {strangers[0]}, which is not in a private range",
            )
        return Location.TRUSTED, f"{host} is listed in trusted_hosts"
    return Location.CLOUD, f"{host} is neither this machine nor listed in trusted_hosts"
