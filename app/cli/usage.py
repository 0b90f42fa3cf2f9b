"""`llm-sidecar usage`: what was used and what it cost, from the ledger of the running sidecar."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings

PATH = "/api/v1/usage"


class Period(StrEnum):
    """From local midnight; weeks begin on Monday."""

    TODAY = "today"
    WEEK = "week"
    MONTH = "month"


def register(app: typer.Typer) -> None:
    app.command("usage")(usage)


def usage(
    period: Annotated[Period | None, typer.Argument(help="Since midnight, Monday, or the first of the month.")] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="From this date or time on.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to, not including, this one.")] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by", "--group-by", metavar="FIELDS", help="Group by model, task_type, workspace, agent, day, …"
        ),
    ] = "model",
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="This workspace only.")] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz", metavar="ZONE", help="Zone of `--by day`, e.g. Europe/Berlin.", show_default="this machine's"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show requests, tokens and cost, by model or otherwise.

    Without a period, the last 30 days. Dates are local: 2026-03-01 or 2026-03-01T09:30. Several fields of `--by`
    are separated by commas.
    """
    from app.cli.client import Sidecar

    if period is not None and (start or end):
        raise CliError("give either a period or --from and --to, not both", ExitCode.USAGE)
    zone = tz or local_zone(os.environ.get("TZ"), Path("/etc/localtime"))
    params = {
        "group_by": by,
        "workspace": workspace,
        "tz": zone,
        **span(period, start, end, datetime.now().astimezone()),
    }
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH, {name: value for name, value in params.items() if value})
    if as_json:
        print_json(answer)
    else:
        _show(answer, [field.strip() for field in by.split(",") if field.strip()])


def span(period: Period | None, start: str | None, end: str | None, now: datetime) -> dict[str, str | None]:
    """`from` and `to` as ISO 8601 with an offset. `now` is local; raises `CliError` for a date that is none."""
    if period is not None:
        return {"from": _begin(period, now).isoformat(), "to": None}
    return {"from": _moment("--from", start), "to": _moment("--to", end)}


def local_zone(variable: str | None, link: Path) -> str | None:
    """This machine's IANA zone: from TZ, else from where /etc/localtime leads. None: not known (Windows, say)."""
    try:
        target = variable.lstrip(":") if variable else os.readlink(link)
    except OSError:
        return None
    name = target.rpartition("zoneinfo/")[2]
    try:
        return ZoneInfo(name).key
    except (ValueError, KeyError, OSError):
        return None


def _begin(period: Period, now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if period is Period.WEEK:
        midnight -= timedelta(days=midnight.weekday())
    elif period is Period.MONTH:
        midnight = midnight.replace(day=1)
    return midnight.astimezone()  # the offset that held then, which may be another than now's


def _moment(option: str, given: str | None) -> str | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise CliError(
            f"{option}: {given!r} is not a date such as 2026-03-01 or 2026-03-01T09:30", ExitCode.USAGE
        ) from None
    return (moment if moment.tzinfo else moment.astimezone()).isoformat()


def _show(answer: Mapping[str, Any], fields: Sequence[str]) -> None:
    from app.cli.output import Column, table
    from app.cli.show import rows_of, text_of

    columns = [
        *(Column(field) for field in fields),
        Column("requests", True),
        Column("attempts", True),
        Column("input", True),
        Column("output", True),
        Column("cost", True),
    ]
    rows = []
    for group in rows_of(answer.get("groups")):
        key = group.get("key")
        named: Mapping[str, Any] = key if isinstance(key, Mapping) else {}
        rows.append([*(text_of(named.get(field)) or "-" for field in fields), *_amounts(group)])
    totals = answer.get("totals")
    if rows and isinstance(totals, Mapping):
        rows.append(["total", *("" for _ in fields[1:]), *_amounts(totals)])
    table(columns, rows, title=f"{_minute(answer.get('from'))} to {_minute(answer.get('to'))}")


def _minute(moment: Any) -> str:
    """2026-03-01 09:30, in the zone that was asked for."""
    return str(moment)[:16].replace("T", " ")


def _amounts(row: Mapping[str, Any]) -> list[str]:
    from app.cli.output import dollars, number

    counts = [number(row.get(key)) for key in ("requests", "attempts", "input_tokens", "output_tokens")]
    cost, unknown = row.get("cost_usd"), row.get("cost_unknown") or 0
    return [*counts, f"{dollars(cost)} and {unknown} unknown" if cost is not None and unknown else dollars(cost)]
