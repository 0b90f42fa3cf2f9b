"""Log lines: text for people or JSON for programs, each with the id of the request it is about, none with a secret.

A line says what happened, to which request, in which part. What was asked and answered is in no line, at no level, and
there is no switch for it: the conversation is in the session, its route and cost in the ledger.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Literal, TypeAlias

from app.config.redact import Redactor

LogFormat: TypeAlias = Literal["text", "json"]

LOG_FILE: Final = "sidecar.log"
_LOG_BYTES: Final = 512 * 1024

current_request: ContextVar[str | None] = ContextVar("current_request", default=None)
"""The id of the request this task works for; tasks that it starts inherit it."""


class RedactingFormatter(logging.Formatter):
    """Nothing that is or looks like a key reaches a log, tracebacks included."""

    def __init__(self, redactor: Redactor, form: LogFormat = "text") -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redactor = redactor
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        return self._as_json(record) if self._form == "json" else self._redactor.redact(self._as_text(record))

    def _as_text(self, record: logging.LogRecord) -> str:
        request = current_request.get()
        text = super().format(record)
        return text if request is None or request in text else f"{text} [request {request}]"

    def _as_json(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request := current_request.get()) is not None:
            line["request_id"] = request
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Before it is written as JSON, which spells some characters of a key in another way.
        return json.dumps({name: self._redactor.redact(value) for name, value in line.items()}, ensure_ascii=False)


class _QuietFile(RotatingFileHandler):
    """Where the disk is full the line is on stderr all the same."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        pass


def keep_last_lines(folder: Path, formatter: logging.Formatter) -> logging.Handler | None:
    """Also write what is logged to the data folder, at most two files of 512 KiB: `doctor --bundle` reads them.

    None where the file cannot be had; the sidecar runs without it.
    """
    try:
        handler = _QuietFile(folder / LOG_FILE, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError as error:
        logging.getLogger(__name__).warning("the log is kept in no file: %s", error.strerror or error)
        return None
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    return handler
