"""`llm-sidecar usage`: what was used and what it cost, from the ledger of the running sidecar."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings

if TYPE_CHECKING:
    from app.cli.client import Sidecar

PATH = "/api/v1/usage"


class Period(StrEnum):
    """From local midnight; weeks begin on Monday."""

    TODAY = "today"
    WEEK = "week"
    MONTH = "month"


class Format(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"


By: TypeAlias = Annotated[
    str,
    typer.Option("--by", "--group-by", metavar="FIELDS", help="Group by model, task_type, workspace, agent, day, …"),
]
Start: TypeAlias = Annotated[str | None, typer.Option("--from", metavar="DATE", help="From this date or time on.")]
End: TypeAlias = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to, not including, this one.")]
Workspace: TypeAlias = Annotated[str | None, typer.Option("--workspace", "-w", help="This workspace only.")]
Zone: TypeAlias = Annotated[
    str | None,
    typer.Option("--tz", metavar="ZONE", help="Zone of days, e.g. Europe/Berlin.", show_default="this machine's"),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True)
    group.callback()(usage)
    group.command("today")(today)
    group.command("week")(week)
    group.command("month")(month)
    group.command("watch")(watch)
    group.command("export")(export)
    group.command("verify")(verify)
    app.add_typer(group, name="usage")


def usage(
    context: typer.Context,
    start: Start = None,
    end: End = None,
    by: By = "model",
    workspace: Workspace = None,
    tz: Zone = None,
    as_json: JsonOption = False,
) -> None:
    """Show requests, tokens and cost, by model or otherwise.

    Without a period, the last 30 days. Dates are local: 2026-03-01 or 2026-03-01T09:30. Several fields of `--by`
    are separated by commas.
    """
    if context.invoked_subcommand is None:
        _report(None, start, end, by, workspace, tz, as_json)


def today(
    start: Start = None, end: End = None, by: By = "model", workspace: Workspace = None, tz: Zone = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Since midnight."""
    _report(Period.TODAY, start, end, by, workspace, tz, as_json)


def week(
    start: Start = None, end: End = None, by: By = "model", workspace: Workspace = None, tz: Zone = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Since Monday."""
    _report(Period.WEEK, start, end, by, workspace, tz, as_json)


def month(
    start: Start = None, end: End = None, by: By = "model", workspace: Workspace = None, tz: Zone = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Since the first of the month."""
    _report(Period.MONTH, start, end, by, workspace, tz, as_json)


def watch(
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.5, help="Between two looks.")] = 2.0,
    by: By = "model",
    workspace: Workspace = None,
    tz: Zone = None,
    as_json: JsonOption = False,
) -> None:
    """Today's figures, live, until Ctrl-C; with --json one object a line. Waits for a sidecar that starts anew."""
    from app.cli.client import Sidecar
    from app.cli.output import note

    try:
        with Sidecar(read_settings()) as sidecar:
            _look(sidecar, by, workspace, tz, as_json)
            while True:
                time.sleep(every)
                try:
                    _look(sidecar, by, workspace, tz, as_json)
                except CliError as error:
                    if error.exit_code is not ExitCode.NOT_RUNNING:
                        raise
                    note(f"{error}; looking again every {every:g} s")
    except KeyboardInterrupt:
        return


def _look(sidecar: Sidecar, by: str, workspace: str | None, tz: str | None, as_json: bool) -> None:
    """Once. Today is what it is then: a watch may last past midnight."""
    import json

    params = _params(Period.TODAY, None, None, by, workspace, tz)
    answer = sidecar.get(PATH, params)
    if as_json:
        print(json.dumps(answer), flush=True)
        return
    spark = _spark(sidecar, params)
    _clear()
    _show(answer, _fields(by), spark)


def export(
    output: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; the terminal when absent.")] = None,
    format: Annotated[
        Format | None, typer.Option("--format", help="By the file's name when absent.", show_default="csv")
    ] = None,
    start: Start = None,
    end: End = None,
    workspace: Workspace = None,
    tz: Zone = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format ndjson.")] = False,
) -> None:
    """Write the ledger's rows as CSV or NDJSON, newest first; the last 30 days unless told otherwise."""
    from app.cli.client import Sidecar
    from app.cli.output import note

    chosen = format or (Format.NDJSON if as_json or (output and output.suffix in (".ndjson", ".jsonl")) else Format.CSV)
    params = _params(None, start, end, "", workspace, tz) | {"format": chosen.value}
    with Sidecar(read_settings()) as sidecar:
        if output is None:
            for data in sidecar.download(f"{PATH}/export", params):
                sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        # Under another name first: what is there already stays until all of the new one is.
        partial = output.with_name(output.name + ".part")
        try:
            with partial.open("wb") as file:
                for data in sidecar.download(f"{PATH}/export", params):
                    file.write(data)
            partial.replace(output)
        except OSError as error:
            raise CliError(f"{output} cannot be written: {error.strerror}") from None
        finally:
            partial.unlink(missing_ok=True)
    note(f"wrote {output} ({output.stat().st_size:,} bytes)")


def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Replace sums that do not agree with the rows.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add up every row anew and compare with the sums that reports read; ends with 1 where something differs."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, number, table

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(f"{PATH}/verify?repair={str(repair).lower()}", {})
    if as_json:
        print_json(answer)
    else:
        rows, days, sums = (number(answer[name]) for name in ("rows", "days", "buckets"))
        print(f"{rows} rows, {days} {'day' if answer['days'] == 1 else 'days'}, {sums} sums: ", end="")
        print("all agree" if not answer["different"] else f"{number(answer['different'])} differ", end="")
        print(f", {number(answer['repaired'])} repaired" if answer["repaired"] else "")
        if answer["checked_from"]:
            print(f"rows from before {answer['checked_from'][:10]} were dropped after their time; their sums stand")
        if answer["differences"]:
            columns = [Column("bucket"), Column("seconds", True), Column("field"), *_stored()]
            table(columns, [_difference(found) for found in answer["differences"]])
    if not answer["ok"]:
        raise typer.Exit(ExitCode.FAILED)


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


def _report(
    period: Period | None,
    start: str | None,
    end: str | None,
    by: str,
    workspace: str | None,
    tz: str | None,
    as_json: bool,
) -> None:
    from app.cli.client import Sidecar

    params = _params(period, start, end, by, workspace, tz)
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH, params)
        if as_json:
            print_json(answer)
        else:
            _show(answer, _fields(by), _spark(sidecar, params))


def _params(
    period: Period | None, start: str | None, end: str | None, by: str, workspace: str | None, tz: str | None
) -> dict[str, str]:
    if period is not None and (start or end):
        raise CliError("give either a period or --from and --to, not both", ExitCode.USAGE)
    params = {
        "group_by": by,
        "workspace": workspace,
        "tz": tz or local_zone(os.environ.get("TZ"), Path("/etc/localtime")),
        **span(period, start, end, datetime.now().astimezone()),
    }
    return {name: value for name, value in params.items() if value}


def _fields(by: str) -> list[str]:
    return [field.strip() for field in by.split(",") if field.strip()]


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
        return (moment if moment.tzinfo else moment.astimezone()).isoformat()
    except (ValueError, OverflowError):
        raise CliError(
            f"{option}: {given!r} is not a date such as 2026-03-01 or 2026-03-01T09:30", ExitCode.USAGE
        ) from None


def _spark(sidecar: Any, params: Mapping[str, str]) -> str:
    """The same range by day (by hour, where that is one day) as a line of bars; empty where there is nothing to see."""
    from app.cli.usage_show import spark_line

    started = datetime.fromisoformat(params["from"]) if "from" in params else None
    hourly = started is not None and datetime.now().astimezone() - started < timedelta(hours=26)
    unit = "hour" if hourly and "to" not in params else "day"
    return spark_line(sidecar.get(PATH, {**params, "group_by": unit}), unit)


def _show(answer: Mapping[str, Any], fields: list[str], spark: str) -> None:
    from app.cli.usage_show import show

    show(answer, fields, spark)


def _clear() -> None:
    if sys.stdout.isatty():
        print("\x1b[H\x1b[2J", end="")


def _stored() -> Any:
    from app.cli.output import Column

    return [Column("stored", True), Column("computed", True)]


def _difference(found: Mapping[str, Any]) -> list[str]:
    from app.cli.output import number

    values = [number(found[name]) if found[name] is not None else "-" for name in ("stored", "computed")]
    return [str(found["bucket"])[:16].replace("T", " "), str(found["level"]), str(found["field"]), *values]
