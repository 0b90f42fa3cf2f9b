"""The command line where it is badly connected: narrow encodings, closed and full streams, bytes that are no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.command_line import ROOT, environment_in, run
from tests.fakes.scripted_sidecar import DONE, ROUTE, Script, events, scripted_sidecar

SAID = events(("route", ROUTE), ("token", {"text": "a → é"}), ("done", DONE))
posix = pytest.mark.skipif(sys.platform == "win32", reason="no shell, no /dev, and arguments are text there")


@pytest.fixture
def sidecar() -> Iterator[Script]:
    with scripted_sidecar() as script:
        yield script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


def in_shell(redirected: str, environment: dict[str, str], script: Script) -> subprocess.CompletedProcess[bytes]:
    """`chat hello` with its streams as the shell leaves them."""
    return subprocess.run(
        f"{sys.executable} -m app chat hello {redirected}",
        shell=True,
        env=environment | {"SIDECAR_PORT": str(script.port)},
        cwd=ROOT,
        capture_output=True,
        timeout=40,
        check=False,
    )


@pytest.mark.parametrize(("encoding", "seen"), [("ascii", b"a ? ?"), ("latin-1", b"a ? \xe9"), ("cp1252", b"a ? \xe9")])
def test_an_encoding_that_lacks_a_character(
    sidecar: Script, environment: dict[str, str], encoding: str, seen: bytes
) -> None:
    sidecar.streams(SAID)
    environment["PYTHONIOENCODING"] = encoding
    done = in_shell("", environment, sidecar)
    assert (done.returncode, done.stdout.strip()) == (0, seen), done.stderr
    done = in_shell("--json", environment, sidecar)
    assert [json.loads(line)["data"].get("text") for line in done.stdout.splitlines()] == [None, "a → é", None]


@posix
def test_streams_that_are_closed_or_full(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.streams(SAID)
    assert in_shell(">&-", environment, sidecar).returncode == 0
    done = in_shell("2>&-", environment, sidecar)
    assert (done.returncode, done.stdout.decode().strip()) == (0, "a → é")
    if os.path.exists("/dev/full"):
        done = in_shell("> /dev/full", environment, sidecar)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(b"llm-sidecar: the output cannot be written: ")
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr


@posix
@pytest.mark.parametrize(
    "arguments",
    [["chat", "caf\udce9"], ["explain", "hi", "-w", "\udcff"], ["sessions", "show", "\udcff"], ["search", "\udcff"]],
)
def test_bytes_that_are_no_text(sidecar: Script, environment: dict[str, str], arguments: list[str]) -> None:
    done = run(arguments, environment, sidecar)
    assert (done.returncode, done.stderr) == (2, "llm-sidecar: what was given is not UTF-8 text\n")
    assert not sidecar.asked


@pytest.mark.parametrize(
    ("arguments", "changed", "part"),
    [
        (["models"], {"SIDECAR_HOST": "[::1"}, "SIDECAR_HOST: '[::1' is no host"),
        (["models"], {"SIDECAR_TOKEN": "é"}, "SIDECAR_TOKEN must be ASCII"),
        (["usage", "--from", "0001-01-01"], {}, "is not a date"),
        (["trigger", "x", "--input", '{"a": NaN}'], {}, "--input is not valid JSON"),
    ],
)
def test_what_cannot_be_sent_is_said(
    sidecar: Script, environment: dict[str, str], arguments: list[str], changed: dict[str, str], part: str
) -> None:
    done = run(arguments, environment | changed, sidecar)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
