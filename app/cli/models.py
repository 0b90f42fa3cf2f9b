"""`llm-sidecar models`: the models of the configuration and what is known about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from app.cli.common import JsonOption, print_json, read_settings

PATH = "/api/v1/models"


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True)
    group.callback()(models)
    group.command("list")(list_models)
    group.command("prices")(prices)
    group.command("fetch")(fetch_embedding)
    app.add_typer(group, name="models")


def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the configured models and what is known of each.

    Whether its server has it, window, output limit, price, and where each value comes from.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


def list_models(as_json: JsonOption = False) -> None:
    """The same as `models` alone."""
    _list(as_json)


def prices(as_json: JsonOption = False) -> None:
    """Show what each model costs, in dollars per million tokens, and where the price comes from.

    `config` is models.yaml, `litellm` its bundled map; a model on this machine costs nothing unless configured. A row
    of the ledger keeps the cost it was written with: a new price changes no old one.
    """
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        listed = sidecar.get(PATH).get("models")
    if as_json:
        print_json({"models": [{"id": m["id"], "location": m["location"], "price": m["price"]} for m in listed]})
    else:
        _show_prices(listed)


def _show_prices(listed: Any) -> None:
    from app.cli.output import Column, note, table
    from app.cli.show import rows_of, text_of

    names = ("input", "cached_input", "cache_write", "output", "reasoning")
    columns = [Column("model"), *(Column(name.replace("_", " "), True) for name in names), Column("from")]
    rows = []
    for model in rows_of(listed):
        price, source = _value(model.get("price")), (model.get("price") or {}).get("source")
        if isinstance(price, Mapping):
            amounts = [_trim(price[name]) if price.get(name) is not None else "" for name in names]
            free = all(_is_zero(price.get(name)) for name in ("input", "output"))
            rows.append(
                [
                    text_of(model.get("id")),
                    *amounts,
                    "runs on this machine" if free and source == "default" else str(source),
                ]
            )
        else:
            rows.append([text_of(model.get("id")), *("?" for _ in names), "not known: set it in models.yaml"])
    table(columns, rows, title="US dollars per million tokens")
    note("empty: cached input and cache writes at the input price, reasoning at the output price")


def fetch_embedding() -> None:
    """Fetch the embedding model (90 MB, once) that search and recall use; it needs the network, and no sidecar."""
    from app.cli.output import note
    from app.memory.model_files import default_folder, fetch

    folder = default_folder()
    fetch(folder, note)
    print(folder)


def _list(as_json: bool) -> None:
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH)
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _show(answer: Mapping[str, Any]) -> None:
    from app.cli.output import Column, note, number, table
    from app.cli.show import rows_of, text_of

    columns = [
        Column("model"),
        Column("location"),
        Column("available"),
        Column("window", True),
        Column("output limit", True, 2),
        Column("$ in / out per million", True),
        Column("values from", spare=1),
    ]
    listed = rows_of(answer.get("models"))
    rows = [
        [
            text_of(m.get("id")),
            text_of(m.get("location")),
            "never" if m.get("unusable") else text_of(m.get("available")) or "not known",
            number(_value(m.get("context_window"))),
            number(limit) if (limit := _value(m.get("max_output_tokens"))) is not None else "",
            _price(m),
            _sources(m),
        ]
        for m in listed
    ]
    table(columns, rows)
    for model in listed:
        if model.get("unusable"):
            note(f"{model.get('id')} cannot be asked: {model.get('unusable')}")
        for warning in model.get("warnings") or ():
            note(f"{model.get('id')}: {warning}")


def _value(field: Any) -> Any:
    """The value of a field that is given with its source."""
    return field.get("value") if isinstance(field, Mapping) else field


def _price(model: Mapping[str, Any]) -> str:
    price = _value(model.get("price"))
    if not isinstance(price, Mapping):
        return "unknown"
    into, out = (price.get(key) for key in ("input", "output"))
    return "free" if _is_zero(into) and _is_zero(out) else f"{_trim(into)} / {_trim(out)}"


def _is_zero(amount: Any) -> bool:
    return amount is not None and float(amount) == 0


def _trim(amount: Any) -> str:
    return "?" if amount is None else f"{float(amount):g}"


def _sources(model: Mapping[str, Any]) -> str:
    """`config`, or `window: config, output: litellm` where they differ."""
    named = {"window": "context_window", "output": "max_output_tokens", "price": "price"}
    found = {
        label: str(field["source"])
        for label, key in named.items()
        if isinstance(field := model.get(key), Mapping) and field.get("source")
    }
    if len(set(found.values())) <= 1:
        return next(iter(found.values()), "")
    return ", ".join(f"{label}: {source}" for label, source in found.items())
