"""`llm-sidecar explain --replay`: logged requests under other rules."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app.cli.common import CliError, ExitCode, print_json, read_settings
from app.cli.usage import local_zone

PATH = "/api/v1/explain/replay"

_AGO = re.compile(r"(\d{1,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def replay(range: str, rules: Path, workspace: str | None, as_json: bool) -> None:
    """Ask the sidecar, and show what would change."""
    from app.cli.client import Sidecar

    start, end = replay_range(range, datetime.now().astimezone())
    try:
        text = rules.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CliError(f"{rules} cannot be read: {reason}", ExitCode.USAGE) from None
    body = {
        "routing": text,
        "from": start,
        "to": end,
        "tz": local_zone(os.environ.get("TZ"), Path("/etc/localtime")),
        "workspace": workspace,
    }
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(PATH, {name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(answer)
    else:
        _show(answer, start, end)


def replay_range(text: str, now: datetime) -> tuple[str, str | None]:
    """`from` and `to` in ISO 8601. `now` is local. Raises `CliError` for what is no range."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    monday = midnight - timedelta(days=midnight.weekday())
    first = midnight.replace(day=1)
    named = {
        "today": (midnight, None),
        "yesterday": (midnight - timedelta(days=1), midnight),
        "this-week": (monday, None),
        "last-week": (monday - timedelta(days=7), monday),
        "this-month": (first, None),
        "last-month": ((first - timedelta(days=1)).replace(day=1), first),
    }
    if text in named:
        start, end = named[text]
        return start.astimezone().isoformat(), None if end is None else end.astimezone().isoformat()
    if ago := _AGO.fullmatch(text):
        return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat(), None
    begin, _, until = text.partition("..")
    return _moment(begin, text), _moment(until, text) if until else None


def _moment(text: str, whole: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(
            f"--replay: {whole!r} is no range; there are today, yesterday, this-week, last-week, this-month, "
            "last-month, 12h, 7d, 4w, a date such as 2026-11-01, and two of these with `..` between them",
            ExitCode.USAGE,
        ) from None
    return (moment if moment.tzinfo else moment.astimezone()).isoformat()


def _show(answer: Mapping[str, Any], start: str, end: str | None) -> None:
    from app.cli.output import Column, dollars, number, table
    from app.cli.show import rows_of, text_of

    columns = [
        *(Column(name) for name in ("model", "would be", "where", "rule")),
        *(Column(name, True) for name in ("requests", "cost", "would cost", "difference")),
    ]
    rows = []
    for change in rows_of(answer.get("changes")):
        after = text_of(change.get("after")) or f"refused ({change.get('refusal')})"
        rule = f"{change.get('rule_before')} > {change.get('rule_after') or '-'}"
        amounts = [_cost(change, name) for name in ("before", "after")]
        difference = change.get("difference_usd") or 0
        rows.append([
            text_of(change.get("before")), after, text_of(change.get("location_after")) or "-", rule,
            number(change.get("requests")), *amounts, f"{'-' if difference < 0 else '+'}{dollars(abs(difference))}",
        ])  # fmt: skip
    table(columns, rows, title=f"{start[:16].replace('T', ' ')} to {(end or 'now')[:16].replace('T', ' ')}")
    totals = answer.get("totals") or {}
    print(
        f"{number(answer.get('changed'))} of {number(answer.get('requests'))} requests would be asked elsewhere: "
        f"{_cost(totals, 'before')} would be {_cost(totals, 'after')}"
    )
    if answer.get("skipped"):
        print(f"{number(answer['skipped'])} have no receipt and are left out")


def _cost(row: Mapping[str, Any], name: str) -> str:
    from app.cli.output import dollars

    unknown = row.get(f"unknown_{name}") or 0
    told = dollars(row.get(f"cost_{name}_usd"))
    return f"{told} and {unknown} unknown" if unknown else told
