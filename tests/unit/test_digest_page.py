"""The digest's page: what a person reads, out of facts alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.agents.digest_facts import AgentRuns, BrokenBuild, Facts, ModelUse, News, WorkedSession
from app.agents.digest_page import page_of, title_of

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
BUILD = BrokenBuild("main", "pipeline", NOON, "fails: unit", "An import is missing in a.py.", "", ["unit"])


def facts(**given: Any) -> Facts:
    nothing: dict[str, Any] = {
        "since": NOON, "until": NOON, "sessions": (), "news": (), "runs": (), "builds": (), "models": (),
        "requests": 0, "local_requests": 0, "spent_before": 0,
    }  # fmt: skip
    return Facts(**{**nothing, **given})


def page(*due: tuple[str, datetime], **given: Any) -> list[str]:
    return page_of(facts(**given), (), due, BERLIN).splitlines()


def test_nothing_is_said_in_a_sentence() -> None:
    assert page() == ["Nothing happened: no session, no news, no request."]


def test_a_broken_build_is_told_once_with_where_to_look() -> None:
    news = [
        News("main fails: unit", "An import is missing in a.py.", "error", "pipeline"),
        News("site passes again", "site passes again", "success", "pipeline"),
        News("main fails to convince", "", "error", "critic"),
    ]
    linked = BrokenBuild("docs", "pipeline", None, "fails", "", "https://ci.example/b (1)", [])
    assert page(builds=[BUILD, linked], news=news) == [
        "## Broken builds",
        "",
        "- **main** since Thu 13:00: An import is missing in a.py.",
        "  - unit",
        "- **[docs](https://ci.example/b%20%281%29)**: fails",
        "",
        "## What agents found",
        "",
        "- site passes again",
        "- **!** main fails to convince",
    ]


def test_what_was_found_is_shown_and_not_only_counted() -> None:
    papers = "\n".join(f"- [Paper {n}](https://x.example/{n}): what it says" for n in range(7))
    news = [
        News("7 new on routing", papers, "info", "research"),
        News("Paper 9", "- [Paper 9](https://x.example/9): the one", "info", "research"),
        News("Review the pull request", "It blocks the release.\n\nAnd more.", "info", "standup"),
    ]
    lines = page(news=news, runs=[AgentRuns("feeds", "failed", 3, None), AgentRuns("tidy", "ok", 9, None)])[2:]
    assert lines[0] == "- 7 new on routing"
    assert lines[1:7] == [
        *(f"  - [Paper {n}](https://x.example/{n}): what it says" for n in range(5)),
        "  - and 2 more",
    ]
    assert lines[7:] == [
        "- [Paper 9](https://x.example/9): the one",
        "- Review the pull request: It blocks the release.",
        "- **!** the agent feeds failed 3 times: see its log",
    ]


@pytest.mark.parametrize(
    "hostile", ["<script>x</script>", "![x](https://evil.example/?q)", "a\n# Heading", "| a | b |"]
)
def test_text_of_others_begins_nothing_and_fetches_nothing(hostile: str) -> None:
    session = WorkedSession("s", hostile, 1, {"goal": hostile, "next_steps": [hostile]})
    build = BrokenBuild(hostile, "pipeline", None, hostile, hostile, "", [hostile])
    text = "\n".join(page(sessions=[session], builds=[build], news=[News(hostile, f"- {hostile}", "info", "x")]))
    assert "<script" not in text
    assert "![" not in text
    assert "\n# " not in text
    assert not [line for line in text.splitlines() if line.startswith("|")]


def test_long_texts_end_between_words() -> None:
    (line,) = [line for line in page(news=[News("word " * 60, "", "info", "x")]) if line.startswith("- ")]
    assert line.endswith(" word…")
    assert len(line) < 170


def test_sections_stand_one_line_apart() -> None:
    session = WorkedSession("s", "Title", 2, {"next_steps": ["go on"]})
    models = [ModelUse("m", 2, 10, 0, 0), ModelUse("gpt", 2, 20, 1_500, 1)]
    asked = {"models": models, "requests": 3, "local_requests": 1}  # one fell back from the one to the other
    lines = page(("digest", NOON), sessions=[session], builds=[BUILD], news=[News("a", "", "info", "x")], **asked)
    assert not [at for at in range(1, len(lines)) if lines[at] == lines[at - 1] == ""]
    assert "3 requests for **$0.0015**; 1 on your own machines." in lines
    assert "| gpt | 2 | 20 | $0.0015 + 1 unknown |" in lines
    assert lines[-2:] == ["- [ ] go on (Title)", "- digest runs on Thu 13:00"]


@pytest.mark.parametrize(
    ("hour", "hours", "title"),
    [
        (7, 24, "Morning digest, Thursday 26 November"),
        (18, 24, "Evening digest, Thursday 26 November"),
        (7, 168, "Digest of 7 days, Thursday 26 November"),
    ],
)
def test_titles(hour: int, hours: float, title: str) -> None:
    assert title_of(NOON.replace(hour=hour), hours) == title
