"""`llm-sidecar openapi`: the description of the HTTP interface, made from the code."""

from __future__ import annotations

import json
import sys

import typer


def register(app: typer.Typer) -> None:
    app.command("openapi")(openapi)


def openapi() -> None:
    """Print openapi.json, the HTTP interface's description.

    Keys are sorted, so that two versions compare line by line. Needs no running sidecar.
    """
    from app.main import openapi_document

    # Bytes, because openapi.json must be the same whatever this machine's encoding and line ends are.
    text = json.dumps(openapi_document(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
