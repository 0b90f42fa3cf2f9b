"""The token file, and what the sidecar is called."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.api.headers import Headers
from app.api.request_ids import RequestIds
from app.api.security import names_of
from app.api.token_file import load_or_create_token
from app.errors import StartupError


def test_a_token_is_made_once_with_256_bits_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token"
    token = load_or_create_token(path)
    assert len(token) == 43  # 32 bytes in URL-safe base64
    assert load_or_create_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["token"]


def test_two_folders_have_two_tokens(tmp_path: Path) -> None:
    assert load_or_create_token(tmp_path / "a" / "token") != load_or_create_token(tmp_path / "b" / "token")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_token_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "token"
    load_or_create_token(path)
    path.chmod(0o644)
    load_or_create_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe" * 40])
def test_a_damaged_token_is_refused_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(StartupError):
        load_or_create_token(path)
    assert path.read_bytes() == content


def test_names_are_those_of_the_bound_port_and_the_listed_ones() -> None:
    names = names_of(8765, ["Box.lan:8765"], ["https://app.example"])
    assert names.hosts == {b"127.0.0.1:8765", b"localhost:8765", b"[::1]:8765", b"box.lan:8765"}
    assert {b"tauri://localhost", b"https://app.example", b"http://localhost:8765"} <= names.origins
    assert b"null" not in names.origins
    assert b"http://box.lan:8765" not in names.origins


def test_on_port_80_the_port_may_be_left_out() -> None:
    assert b"localhost" in names_of(80).hosts
    assert b"localhost" not in names_of(8080).hosts


def test_an_id_that_comes_again_gets_a_tail() -> None:
    ids = RequestIds()

    def take(value: bytes, method: str = "POST") -> str:
        return ids.take(Headers({"headers": [(b"x-request-id", value)]}), method)

    assert take(b"mine") == take(b"mine", "GET") == "mine"
    again, once_more = take(b"mine"), take(b"mine")
    assert (again[:5], once_more[:5]) == ("mine.", "mine.")
    assert again != once_more
    long = b"x" * 128
    assert take(long) == long.decode()
    assert len(take(long)) == 128
    assert take(b"not well formed") != take(b"not well formed")
    for number in range(RequestIds._REMEMBERED):
        take(b"other-%d" % number)
    assert take(b"mine") == "mine"  # forgotten by now
