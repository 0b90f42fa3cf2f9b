"""Where an endpoint is: what is not certainly here is cloud."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.locality import Location, locate, locate_url

TRUSTED = ("nas.home.lan", "192.168.1.20", "FD00::20", "0.0.0.0", "169.254.169.254", "8.8.8.8")
HOSTS = {
    "workstation": ("127.0.1.1",),
    "both": ("127.0.0.1", "192.168.1.9"),
    "six": ("::1", "127.0.0.1"),
    "nas.home.lan": ("192.168.1.20",),
    "leaky.lan": ("93.184.216.34",),
    "odd": ("not an address",),
}


@pytest.mark.parametrize(
    ("api_base", "expected"),
    [
        ("http://127.0.0.1:11434", Location.LOOPBACK),
        ("http://127.255.255.254/v1", Location.LOOPBACK),
        ("http://[::1]:8000/v1", Location.LOOPBACK),
        ("https://127.0.0.1", Location.LOOPBACK),
        ("http://localhost:1234/v1", Location.LOOPBACK),
        ("http://LOCALHOST", Location.LOOPBACK),
        ("http://localhost.", Location.LOOPBACK),
        ("http://ollama.localhost:80", Location.LOOPBACK),
        ("http://workstation:11434", Location.LOOPBACK),
        ("http://six/v1", Location.LOOPBACK),
        ("http://nas.home.lan:8000/v1", Location.TRUSTED),
        ("http://NAS.home.lan.:8000/v1", Location.TRUSTED),
        ("http://192.168.1.20:8000/v1", Location.TRUSTED),
        ("http://[fd00::20]/v1", Location.TRUSTED),
        ("http://[FD00:0::20]/v1", Location.TRUSTED),
        ("https://8.8.8.8", Location.TRUSTED),
        ("https://api.openai.com/v1", Location.CLOUD),
        ("http://192.168.1.9:11434", Location.CLOUD),
        ("http://0.0.0.0:11434", Location.CLOUD),
        ("http://[::]:11434", Location.CLOUD),
        ("http://169.254.169.254/latest", Location.CLOUD),
        ("http://[fe80::1]:11434", Location.CLOUD),
        ("http://224.0.0.1", Location.CLOUD),
        ("http://[::ffff:127.0.0.1]:11434", Location.CLOUD),
        ("http://[::127.0.0.1]:11434", Location.CLOUD),
        ("http://[64:ff9b::7f00:1]", Location.CLOUD),
        ("http://[::1%25lo]:80", Location.CLOUD),
        ("http://2130706433:11434", Location.CLOUD),
        ("http://0x7f000001", Location.CLOUD),
        ("http://0177.0.0.1", Location.CLOUD),
        ("http://127.1:11434", Location.CLOUD),
        ("http://127.0.0.01", Location.CLOUD),
        ("http://127.0.0.0x1", Location.CLOUD),
        ("http://127.0.0.1.:80/v1", Location.LOOPBACK),
        ("http://127.0.0.1.evil.com", Location.CLOUD),
        ("http://127.0.0.1.nip.io", Location.CLOUD),
        ("http://localhost.evil.com", Location.CLOUD),
        ("http://notlocalhost", Location.CLOUD),
        ("http://localhost..", Location.CLOUD),
        ("http://both", Location.CLOUD),
        ("http://odd", Location.CLOUD),
        ("http://leaky.lan", Location.CLOUD),
        ("http://unknown-name", Location.CLOUD),
        ("http://sub.nas.home.lan", Location.CLOUD),
        ("http://127.0.0.1@evil.com", Location.CLOUD),
        ("http://evil.com@127.0.0.1", Location.CLOUD),
        ("http://127.0.0.1\\@evil.com", Location.CLOUD),
        ("http://evil.com#@127.0.0.1", Location.CLOUD),
        ("http://127.0.0.1%2eevil.com", Location.CLOUD),
        ("http://127.0.0.1\t.evil.com", Location.CLOUD),
        ("http://ⓛocalhost", Location.CLOUD),
        ("http://127。0。0。1", Location.CLOUD),
        ("http://127.0.0.1:port", Location.CLOUD),
        ("http://127.0.0.1:99999", Location.CLOUD),
        ("http://[::1", Location.CLOUD),
        ("http://", Location.CLOUD),
        ("127.0.0.1:11434", Location.CLOUD),
        ("unix:///tmp/x.sock", Location.CLOUD),
        ("ftp://127.0.0.1", Location.CLOUD),
        ("", Location.CLOUD),
    ],
)
def test_urls(api_base: str, expected: Location) -> None:
    location, reason = locate_url(api_base, TRUSTED, HOSTS)
    assert location is expected, reason
    assert reason


def test_a_trusted_name_on_the_internet_is_cloud_unless_its_address_is_listed() -> None:
    hosts = {"box.lan": ("93.184.216.34",)}
    assert locate_url("http://box.lan", ["box.lan"], hosts)[0] is Location.CLOUD
    assert locate_url("http://box.lan", ["box.lan", "93.184.216.34"], hosts)[0] is Location.TRUSTED
    assert locate_url("http://box.lan", ["box.lan"])[0] is Location.TRUSTED


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "169.254.169.254"])
def test_a_trusted_name_in_the_hosts_file_leads_to_a_private_range_or_is_cloud(address: str) -> None:
    assert locate_url("http://box.lan", ["box.lan"], {"box.lan": (address,)})[0] is Location.CLOUD


@pytest.mark.parametrize(
    ("provider", "name", "api_base", "expected"),
    [
        ("builtin", "extractive", None, Location.IN_PROCESS),
        ("embedded", "qwen", None, Location.IN_PROCESS),
        ("anthropic", "claude", None, Location.CLOUD),
        ("ollama", "llama3:8b", None, Location.CLOUD),
        ("ollama", "llama3:8b", "http://127.0.0.1:11434", Location.LOOPBACK),
        ("ollama", "llama3:8b", "https://ollama.example.com", Location.CLOUD),
        ("openai", "gpt-4o", "http://127.0.0.1:8000/v1", Location.LOOPBACK),
        ("ollama", "gpt-oss:120b-cloud", "http://127.0.0.1:11434", Location.CLOUD),
        ("ollama", "GPT-OSS:120b-Cloud", "http://127.0.0.1:11434", Location.CLOUD),
        ("ollama", "glm-4.6:cloud", "http://127.0.0.1:11434", Location.CLOUD),
        ("ollama", "gpt-oss:120b-cloud@sha256:00", "http://127.0.0.1:11434", Location.CLOUD),
        ("ollama", "some-cloud", "http://127.0.0.1:11434", Location.CLOUD),
        ("ollama", "cloudy:7b", "http://127.0.0.1:11434", Location.LOOPBACK),
        ("openai", "gpt-oss:120b-cloud", "http://127.0.0.1:11434/v1", Location.CLOUD),
    ],
)
def test_providers_and_names(provider: str, name: str, api_base: str | None, expected: Location) -> None:
    assert locate(provider, name, api_base)[0] is expected


ORDER = list(Location)


@pytest.mark.parametrize("declared", ORDER)
@pytest.mark.parametrize(
    ("api_base", "found"),
    [
        ("http://127.0.0.1", Location.LOOPBACK),
        ("http://192.168.1.20", Location.TRUSTED),
        ("https://api.openai.com/v1", Location.CLOUD),
    ],
)
def test_a_declared_location_makes_more_remote_never_less(api_base: str, found: Location, declared: Location) -> None:
    for both in ((declared.value, None), (None, declared.value), ("in_process", declared.value)):
        location, _ = locate("openai", "m", api_base, trusted_hosts=TRUSTED, declared=both)
        assert ORDER.index(location) == max(ORDER.index(found), ORDER.index(declared))


@given(st.ip_addresses())
def test_only_loopback_addresses_are_loopback(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    expected = ip in ipaddress.ip_network("127.0.0.0/8") if ip.version == 4 else str(ip) == "::1"
    assert (locate_url(f"http://{host}:80")[0] is Location.LOOPBACK) == expected
    assert locate_url(f"http://{host}:80")[0].is_local == expected


@given(st.text())
def test_any_text_has_a_location(text: str) -> None:
    for api_base in (text, f"http://{text}", f"http://127.0.0.1{text}"):
        location, reason = locate_url(api_base)
        assert isinstance(location, Location)
        assert reason


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "192.168.276"])
def test_a_number_that_may_be_read_as_an_address_is_never_trusted(host: str) -> None:
    assert locate_url(f"http://{host}:80", [host], {host: ("127.0.0.1",)})[0] is Location.CLOUD
