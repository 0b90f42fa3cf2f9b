"""Odd arguments, encodings and files on the command line: an error that says what to do, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.command_line import ROOT, environment_in, run
from tests.fakes.scripted_sidecar import Script, scripted_sidecar


@pytest.fixture
def sidecar() -> Iterator[Script]:
    with scripted_sidecar() as script:
        yield script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


RAW = os.fsdecode(b"caf\xe9")
linux = pytest.mark.skipif(sys.platform != "linux", reason="arguments are bytes on Linux")


@linux
@pytest.mark.parametrize(
    "arguments",
    [["chat", RAW], ["search", RAW], ["sessions", "create", RAW], ["sessions", "show", RAW], ["usage", "-w", RAW]],
)
def test_bytes_that_are_no_text(arguments: list[str], environment: dict[str, str], sidecar: Script) -> None:
    result = run(arguments, environment, sidecar)
    assert (result.returncode, result.stderr.strip()) == (
        2,
        "llm-sidecar: what was given is not UTF-8 text",
    )
    assert sidecar.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trigger", "digest", "-i", '{"a": 1e999}'], "no number that JSON has"),
        (["trigger", "digest", "-i", "day=1e999"], "no number that JSON has"),
        (["trigger", "digest", "-i", '{"a":' * 20_000], "--input is not valid JSON"),
        (["usage", "--from", "0001-01-01"], "--from: '0001-01-01' is not a date"),
        (["index", ""], "PATH is empty"),
        (["index", "stop", ""], "PATH is empty"),
        (["index", "drop", ""], "PATH is empty"),
    ],
)
def test_values_that_cannot_be_meant(
    arguments: list[str],
    said: str,
    environment: dict[str, str],
    sidecar: Script,
) -> None:
    result = run(arguments, environment | {"TZ": "Asia/Tokyo"}, sidecar)
    assert (result.returncode, sidecar.asked) == (2, [])
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("token", ["é" * 40, "a\nb", "a b"])
def test_a_token_that_no_header_carries(token: str, environment: dict[str, str], sidecar: Script) -> None:
    result = run(["chat", "hi"], environment | {"SIDECAR_TOKEN": token}, sidecar)
    assert result.returncode == 2
    assert "SIDECAR_TOKEN must be ASCII characters without spaces" in result.stderr


def test_an_answer_that_the_terminal_cannot_show(environment: dict[str, str], sidecar: Script) -> None:
    """As on Windows, where what is piped is written in the code page."""
    sidecar.answers({"text": "it works — 🎉", "route": {}})
    result = run(["chat", "--no-stream", "hi"], environment | {"PYTHONIOENCODING": "ascii"}, sidecar)
    assert (result.returncode, result.stdout) == (0, "it works ? ?\n")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_files_without_an_end(environment: dict[str, str], sidecar: Script) -> None:
    """Read no further than what is taken: /dev/zero filled the memory."""
    limited = ["bash", "-c", 'ulimit -v 4000000; exec "$@"', "-", sys.executable, "-m", "app"]
    environment = environment | {"SIDECAR_PORT": str(sidecar.port)}
    for arguments in (["chat", "--file", "/dev/zero", "x"], ["sessions", "import", "/dev/zero"]):
        result = subprocess.run(
            [*limited, *arguments], env=environment, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
        )
        assert (result.returncode, sidecar.asked) == (2, [])
        assert "/dev/zero is" in result.stderr


def test_a_conversation_nested_without_end(
    environment: dict[str, str],
    sidecar: Script,
    tmp_path: Path,
) -> None:
    (tmp_path / "deep").write_text("[" * 200_000)
    result = run(["sessions", "import", str(tmp_path / "deep")], environment, sidecar)
    assert (result.returncode, sidecar.asked) == (2, [])
    assert "nested too deeply" in result.stderr
