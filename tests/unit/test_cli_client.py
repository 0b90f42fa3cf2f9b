"""Events as bytes, however they are cut; and where the sidecar is."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.client import EventDecoder, ServerEvent, problem_text
from app.cli.common import CliError, base_url, read_token
from app.settings import Settings

NAMES = st.sampled_from(["route", "token", "done"])
DATA = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=40), st.integers(), st.none()), max_size=3)


def decode(*parts: bytes) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for part in parts for event in decoder.feed(part)]


@given(
    st.lists(st.tuples(NAMES, DATA), max_size=5),
    st.lists(st.integers(0, 400), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_cut_gives_the_same_events(pairs: list[tuple[str, dict[str, Any]]], cuts: list[int], line_end: str) -> None:
    lines = [
        line
        for i, (name, data) in enumerate(pairs)
        for line in (f"id: {i}", f"event: {name}", f"data: {json.dumps(data, ensure_ascii=False)}", ": ping", "")
    ]
    raw = "".join(line + line_end for line in [*lines, ":"]).encode()
    places = [0, *sorted(min(c, len(raw)) for c in cuts), len(raw)]
    found = decode(*(raw[a:b] for a, b in pairwise(places)))
    assert found == [ServerEvent(name, data, str(i)) for i, (name, data) in enumerate(pairs)]


def test_separators_of_unicode_do_not_end_a_line() -> None:
    text = {"text": "a\u2028b\u0085c\x0bd"}
    assert decode(f"data: {json.dumps(text, ensure_ascii=False)}\n\n".encode())[0].data == text


def test_data_of_several_lines_is_joined_and_an_event_without_data_is_none() -> None:
    assert decode(b'event: token\ndata: {"a":\ndata:1}\n\nevent: nothing\n\n: only a comment\n\n') == [
        ServerEvent("token", {"a": 1})
    ]


def test_an_unfinished_event_is_not_given() -> None:
    assert decode(b'data: {"a": 1}\n') == []


def test_data_that_is_no_json_is_an_error() -> None:
    with pytest.raises(CliError, match="not JSON"):
        decode(b"data: {\n\n")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765"),
        ("::1", "http://[::1]:8765"),
        ("0.0.0.0", "http://127.0.0.1:8765"),
        ("localhost", "http://localhost:8765"),
    ],
)
def test_base_url(host: str, url: str) -> None:
    assert base_url(Settings(host=host, port=8765)) == url


def test_a_port_that_is_not_known_is_said_to_be() -> None:
    with pytest.raises(CliError, match="SIDECAR_PORT"):
        base_url(Settings(port=0))


def test_the_token_of_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, token=None)
    assert read_token(settings) is None
    settings.token_path.write_text("abc\n")
    assert read_token(settings) == "abc"
    assert read_token(Settings(data_dir=tmp_path, token="given")) == "given"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"detail": "no", "code": "x"}, "no (x)"),
        ({"title": "No"}, "No"),
        ({"code": "x"}, "x"),
        ("oops", ""),
    ],
)
def test_problem_text(body: Any, text: str) -> None:
    assert problem_text(body) == text
