"""Logs cut to what tells, builds that are news, reports and logs as files: no server, no clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.build_sources import SourceFailed, read_junit, read_log, state_of, value_at
from app.agents.builds import Build, Seen, decide, history_of, remember
from app.agents.logs import MAX_CHARACTERS, plain, trim

PASSED, FAILED = r"(?i)passed", r"(?i)failed"


def seen(states: str, seconds: float = 10.0) -> list[Seen]:
    """`"ppf"`: two that passed, one that failed."""
    return [Seen(str(n), {"p": "passing", "f": "failing"}[s], seconds) for n, s in enumerate(states)]


@pytest.mark.parametrize(
    ("before", "state", "kind"),
    [
        ("", "failing", "broken"),
        ("", "passing", None),
        ("ppp", "failing", "broken"),
        ("pf", "failing", None),
        ("pff", "passing", "repaired"),
        ("ppp", "passing", None),
        ("pfpf", "passing", "flaky"),
        ("pfpfp", "failing", None),
        ("pfp", "running", None),
        ("pfpf" + "f" * 10, "passing", "repaired"),
    ],
)
def test_what_is_news(before: str, state: str, kind: str | None) -> None:
    change = decide(seen(before), Build("new", state))  # type: ignore[arg-type]
    assert (change.kind if change else None) == kind


@pytest.mark.parametrize(("seconds", "kind"), [(200, "slower"), (35, None), (12, None), (None, None)])
def test_slower_than_its_history(seconds: float | None, kind: str | None) -> None:
    change = decide(seen("pppppp", 100.0 if seconds == 200 else 10.0), Build("new", "passing", seconds=seconds))
    assert (change.kind if change else None) == kind


def test_slow_is_said_once() -> None:
    history = [*seen("pppppp", 100.0), Seen("slow", "passing", 200.0)]
    assert decide(history, Build("new", "passing", seconds=210.0)) is None


@given(st.lists(st.sampled_from(["passing", "failing"]), max_size=40))
def test_a_build_that_was_seen_is_no_news_and_history_stays_short(states: list[str]) -> None:
    rows: list[dict[str, object]] = []
    for number, state in enumerate(states):
        build = Build(str(number), state)  # type: ignore[arg-type]
        rows = remember(history_of(rows), build)
        assert decide(history_of(rows), build) is None
    assert len(rows) == min(len(states), 30)


def test_a_source_without_numbers_is_news_by_its_state_alone() -> None:
    rows = remember([], Build("success", "passing"))
    assert decide(history_of(rows), Build("success", "passing")) is None
    rows = remember(history_of(rows), Build("failed", "failing"))
    assert decide(history_of(rows), Build("success", "passing")) is not None


# -- logs


def test_colours_and_overwritten_lines_go() -> None:
    raw = "2026-11-26T10:00:00.1234567Z \x1b[31mERROR\x1b[0m x\r\nload 1%\rload 100%\n\x1b]0;title\x07end\x00"
    assert plain(raw) == "ERROR x\nload 100%\nend"


def test_secrets_do_not_leave_a_log() -> None:
    assert "sk-ant-" not in trim("export KEY=sk-ant-REDACTED\nerror")


def test_what_surrounds_the_first_errors_is_kept() -> None:
    lines = [f"line {n}" for n in range(5_000)]
    lines[2_500] = "E   AssertionError: 3 != 4"
    cut = trim("\n".join(lines)).splitlines()
    assert len("\n".join(cut)) <= MAX_CHARACTERS
    assert cut[0] == "line 0"
    assert cut[-1] == "line 4999"
    place = cut.index("E   AssertionError: 3 != 4")
    assert cut[place - 2 : place] == ["line 2498", "line 2499"]
    assert cut[place + 6] == "line 2506"
    assert "lines left out]" in cut[8]


def test_no_errors_is_no_error() -> None:
    assert "left out" in trim("\n".join(["0 errors, 0 failed"] * 3_000))


@given(st.text(max_size=3_000))
def test_any_text_fits(text: str) -> None:
    assert len(trim(text, 500)) <= 600


# -- files

JUNIT = """<?xml version="1.0"?>
<testsuites><testsuite name="s">
  <testcase classname="a.B" name="works" time="1.5"/>
  <testcase classname="a.B" name="breaks" time="0.5"><failure message="3 != 4">at b.py:7</failure></testcase>
</testsuite></testsuites>"""


def test_junit_reports_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.xml").write_text(JUNIT)
    build = read_junit(tmp_path)
    assert (build.state, build.seconds, build.failed) == ("failing", 2.0, ("a.B.breaks",))
    assert "at b.py:7" in build.log
    assert read_junit(tmp_path).id == build.id
    (tmp_path / "deep" / "one.xml").write_text(
        JUNIT.replace("<failure", "<system-out").replace("</failure", "</system-out")
    )
    assert read_junit(tmp_path).state == "passing"


@pytest.mark.parametrize(
    "text",
    [
        "<testsuite><testcase",
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>',
        "",
    ],
)
def test_a_report_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.xml").write_text(text)
    with pytest.raises(SourceFailed):
        read_junit(tmp_path)


def test_no_folder_no_tests_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="no folder"):
        read_junit(tmp_path / "none")
    with pytest.raises(SourceFailed, match="no test"):
        read_junit(tmp_path)
    with pytest.raises(SourceFailed, match="cannot be read"):
        read_log(tmp_path / "none.log", PASSED, FAILED)


def test_the_last_telling_line_of_a_log_decides(tmp_path: Path) -> None:
    file = tmp_path / "build.log"
    file.write_text("tests passed\nthen it failed\nbye\n")
    assert read_log(file, PASSED, FAILED).state == "failing"
    file.write_text("x" * 2_000_000 + "\nfailed\nall passed\n")
    assert read_log(file, PASSED, FAILED).state == "passing"
    file.write_bytes(b"\xff\xfe\x00 nothing")
    assert read_log(file, PASSED, FAILED).state == "unknown"


def test_words_and_paths() -> None:
    assert (state_of("SUCCESS"), state_of("timed_out"), state_of("queued"), state_of(None)) == (
        "passing", "failing", "running", "unknown",
    )  # fmt: skip
    document = {"builds": [{"state": "ok"}, {"state": "bad"}]}
    assert value_at(document, "builds[-1].state") == "bad"
    assert value_at(document, "builds[7].state") is None
    assert value_at(document, "builds.state") is None
