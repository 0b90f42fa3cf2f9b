"""The digest as a page: facts to Markdown. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Final

from app.agents.digest_facts import MOST_STEPS, BrokenBuild, Facts, News, WorkedSession
from app.usage.budget_states import BudgetState

MOST_LINES: Final = 5
"""Of what one piece of news lists."""
_SHORT: Final = 160
_LONG: Final = 400


def title_of(day: datetime, hours: float) -> str:
    """Of a page written at `day`, local. By the hour: a morning's is about yesterday, but it is this morning's."""
    if hours > 36:
        return f"Digest of {hours / 24:.0f} days, {day:%A} {day.day} {day:%B}"
    part = "Morning" if day.hour < 12 else "Afternoon" if day.hour < 17 else "Evening"
    return f"{part} digest, {day:%A} {day.day} {day:%B}"


def page_of(
    facts: Facts, budgets: Sequence[BudgetState], due: Sequence[tuple[str, datetime]], zone: tzinfo | None
) -> str:
    """Everything below the title. `due`: (agent, when), the soonest first. Times are shown in `zone`."""
    return "\n".join(_sections(facts, budgets, due, zone)).strip() + "\n"


def _sections(
    facts: Facts, budgets: Sequence[BudgetState], due: Sequence[tuple[str, datetime]], zone: tzinfo | None
) -> Iterator[str]:
    if facts.quiet:
        yield "Nothing happened: no session, no news, no request.\n"
    yield from _work(facts.sessions)
    yield from _builds(facts.builds, zone)
    yield from _found(facts)
    yield from _cost(facts, budgets)
    yield from _due(facts.sessions, due, zone)


def _work(sessions: Sequence[WorkedSession]) -> Iterator[str]:
    if not sessions:
        return
    yield "## Where work stopped\n"
    for session in sessions:
        at = session.text("current_task") or session.text("goal")
        yield f"- **{_line(session.title)}** ({_many(session.messages, 'message')}){f': {_line(at)}' if at else ''}"
        yield from (f"  - blocked: {_line(blocker)}" for blocker in session.lines("blockers")[:2])
    yield ""


def _builds(builds: Sequence[BrokenBuild], zone: tzinfo | None) -> Iterator[str]:
    if not builds:
        return
    yield "## Broken builds\n"
    for build in builds:
        since = "" if build.since is None else f" since {build.since.astimezone(zone):%a %H:%M}"
        named = f"[{_line(build.name)}]({_url(build.url)})" if build.url else _line(build.name)
        why = build.diagnosis or build.reason
        yield f"- **{named}**{since}{f': {_line(why, _LONG)}' if why else ''}"
        yield from (f"  - {_line(name)}" for name in build.failed[:MOST_LINES])
    yield ""


def _found(facts: Facts) -> Iterator[str]:
    told = [news for news in facts.news if not any(build.told_by(news) for build in facts.builds)]
    failed = [runs for runs in facts.runs if runs.state == "failed"]
    if not told and not failed:
        return
    yield "## What agents found\n"
    for news in told:
        yield from _news(news)
    for runs in failed:
        times = "once" if runs.runs == 1 else f"{runs.runs} times"
        yield f"- **!** the agent {runs.agent} failed {times}: {_line(runs.message or 'see its log')}"
    yield ""


def _news(news: News) -> Iterator[str]:
    """Its title, and what it lists below it; of one thing, or a sentence, one line."""
    mark = "**!** " if news.severity in ("error", "warning") else ""
    lines = [line.strip() for line in news.body.splitlines() if line.strip()]
    listed = [line[2:] for line in lines if line.startswith("- ")]
    if len(listed) == 1 and news.title in listed[0]:
        yield f"- {mark}{_line(listed[0], _LONG)}"
        return
    first = lines[0] if lines and not listed and lines[0] != news.title else ""
    yield f"- {mark}{_line(news.title)}{f': {_line(first, _LONG)}' if first else ''}"
    yield from (f"  - {_line(line, _LONG)}" for line in listed[:MOST_LINES])
    if len(listed) > MOST_LINES:
        yield f"  - and {len(listed) - MOST_LINES} more"


def _cost(facts: Facts, budgets: Sequence[BudgetState]) -> Iterator[str]:
    if not facts.models and not budgets:
        return
    yield "## Cost\n"
    if facts.models:
        before = f", {_dollars(facts.spent_before)} in the time before" if facts.spent_before else ""
        spent = f"**{_dollars(facts.micro_usd)}**{before}"
        yield f"{_many(facts.requests, 'request')} for {spent}; {facts.local_requests} on your own machines.\n"
        yield "| model | calls | tokens | cost |"
        yield "| --- | ---: | ---: | ---: |"
        for model in facts.models[:6]:
            cost = _dollars(model.micro_usd) + (f" + {model.unpriced} unknown" if model.unpriced else "")
            yield f"| {_cell(model.model)} | {model.calls:,} | {model.tokens:,} | {cost} |"
        yield ""
    known = [state for state in budgets if state.used_usd is not None]
    for state in known:
        ahead = "" if state.projected_usd is None else f", heading for ${state.projected_usd:,.2f}"
        yield f"- budget of the {state.period}: ${state.used_usd:,.2f} of ${state.limit_usd:,.2f} used{ahead}"
    if known:
        yield ""


def _due(sessions: Sequence[WorkedSession], due: Sequence[tuple[str, datetime]], zone: tzinfo | None) -> Iterator[str]:
    steps = [(step, session.title) for session in sessions for step in session.lines("next_steps")][:MOST_STEPS]
    if not steps and not due:
        return
    yield "## Next\n"
    yield from (f"- [ ] {_line(step)} ({_line(title)})" for step, title in steps)
    yield from (f"- {agent} runs on {at.astimezone(zone):%a %H:%M}" for agent, at in due[:3])
    yield ""


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _line(text: str, most: int = _SHORT) -> str:
    """One line of Markdown that begins nothing of its own, and fetches nothing: no tag, no image."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("![", "!\\[")
    if len(flat) <= most:
        return flat
    whole = flat[: most - 1].rpartition(" ")[0]  # not in the midst of a word, nor of a link's address
    return f"{whole or flat[: most - 1]}…"


def _url(url: str) -> str:
    return url.replace("(", "%28").replace(")", "%29").replace(" ", "%20")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _dollars(micro_usd: int) -> str:
    dollars = micro_usd / 1_000_000
    return f"${dollars:,.2f}" if dollars >= 0.01 or not micro_usd else f"${dollars:.4f}"
