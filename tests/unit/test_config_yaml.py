"""The YAML reader: what is refused, where the problem is said to be, and how quickly."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.config.yamlfile import MAX_BYTES, YamlRefused, parse, read, show_path


def refusal(raw: bytes) -> tuple[str, int | None]:
    """The first problem's text and line."""
    with pytest.raises(YamlRefused) as caught:
        parse("x.yaml", raw)
    problem = caught.value.problems[0]
    return f"{problem.where}: {problem.message}", problem.line


def test_lines_of_keys_and_items() -> None:
    file = parse("x.yaml", b"# note\nrules:\n  - name: a\n    model: m\n  - {name: b,\n     model: n}\n")
    assert file.data == {"rules": [{"name": "a", "model": "m"}, {"name": "b", "model": "n"}]}
    assert file.line_of(("rules",)) == 2
    assert file.line_of(("rules", 0, "model")) == 4
    assert file.line_of(("rules", 1)) == 5
    assert file.line_of(("rules", 1, "model")) == 6
    assert file.line_of(("rules", 1, "absent", "deeper")) == 5, "the nearest ancestor"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("18:00", "18:00"),
        ("2024-01-01", "2024-01-01"),
        ("010", 10),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("'8192'", "8192"),
        ('"true"', "true"),
        ("1_000", "1_000"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    data = parse("x.yaml", f"key: {text}".encode()).data
    assert data == {"key": value}
    assert type(data["key"]) is type(value)


@pytest.mark.parametrize(
    ("raw", "expected", "line"),
    [
        (b"a: 1\nb: !!python/object/apply:os.system ['true']\n", "b: has a YAML tag", 2),
        (b"a: !!binary aGVsbG8=\n", "a: has a YAML tag", 1),
        (b"a: 1\nb: 2\na: 3\n", "a: duplicate key; the first is in line 1", 3),
        (b"a: {b: 1, b: 2}", "a.b: duplicate key", 1),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", "c: has a merge key", 3),
        (b"a: &x [*x]\n", "a[0]: refers to an anchor", 1),
        (b"a: 1\n---\nb: 2\n", ": holds a second YAML document", 2),
        (b"? [a, b]\n: 1\n", ": has a key that is not a plain text", 1),
        (b"a: 1\nb: \xff\n", ": is not UTF-8", 2),
        ("a: 1\n".encode("utf-16"), ": is not UTF-8", 1),
        (b"a: 'never closed\n", ": YAML syntax: while scanning a quoted scalar", 1),
        (b"a: @home\n", "a text that begins like this must be quoted", 1),
        (b"a:\n\tb: 1\n", "indent with spaces, not tabs", 2),
        (b"a: b: c\n", ": YAML syntax: mapping values are not allowed", 1),
        (b"a: \x01\n", ": YAML syntax: control characters are not allowed", None),
        (b"a: " + b"9" * 5000, "a: is a number of more than 40 digits", 1),
    ],
)
def test_refused_with_place_and_reason(raw: bytes, expected: str, line: int | None) -> None:
    message, found_line = refusal(raw)
    assert expected in message
    assert found_line == line


def test_all_duplicates_are_listed() -> None:
    with pytest.raises(YamlRefused) as caught:
        parse("x.yaml", b"a: 1\na: 2\nb: 1\nb: 2\n")
    assert [p.where for p in caught.value.problems] == ["a", "b"]


BOMB = b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30)
)


@pytest.mark.parametrize(
    "raw",
    [BOMB, b"[" * 900_000, b"{a: " * 200_000, b"- " * 400_000, b"!" * 900_000, b"&a " * 300_000, b"[,]" * 300_000],
    ids=["alias bomb", "brackets", "flow maps", "dashes", "tags", "anchors", "commas"],
)
def test_bombs_are_refused_in_a_tenth_of_a_second(raw: bytes) -> None:
    begun = time.process_time()  # of this process alone: the machine may be busy
    refusal(raw)
    assert time.process_time() - begun < 0.1


def test_aliases_within_reason_are_followed() -> None:
    file = parse("x.yaml", b"local: &local [a, b]\nrules: [{fallback: *local}]\n")
    assert file.data["rules"] == [{"fallback": ["a", "b"]}]


def test_too_large(tmp_path: Path) -> None:
    big = tmp_path / "models.yaml"
    big.write_bytes(b"# " + b"x" * MAX_BYTES)
    with pytest.raises(YamlRefused, match="larger than 1,000,000 bytes"):
        read(big)


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").mkdir()
    with pytest.raises(YamlRefused, match="cannot be read"):
        read(tmp_path / "models.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse("x.yaml", b"\xef\xbb\xbfa: 1").data == {"a": 1}


@pytest.mark.parametrize("raw", [b"", b"# only a note\n"])
def test_an_empty_file_is_nothing(raw: bytes) -> None:
    assert parse("x.yaml", raw).data is None


def test_paths_as_people_write_them() -> None:
    assert show_path(("rules", 2, "fallback", 0)) == "rules[2].fallback[0]"


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with contextlib.suppress(YamlRefused):
        parse("x.yaml", raw)


# PyYAML writes YAML 1.1 and leaves `08` and `1e5` bare as text; in YAML 1.2, which is read here, they are numbers.
NUMBER_ONLY_IN_1_2 = re.compile(r"[-+]?[0-9]+(?:[eE][-+]?[0-9]+)?")
words = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | words.filter(lambda text: not NUMBER_ONLY_IN_1_2.fullmatch(text)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    assert parse("x.yaml", yaml.safe_dump(value, width=10_000).encode()).data == value


def test_the_file_of_a_dead_link_is_absent(tmp_path: Path) -> None:
    os.symlink(tmp_path / "nowhere", tmp_path / "models.yaml")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "models.yaml")
