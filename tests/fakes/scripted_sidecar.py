"""A server that answers the command line by script, without a sidecar behind it, and what a sidecar would say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROUTE = {"request_id": "r1", "rule": "default", "model": "ollama/llama3:8b", "location": "loopback", "reasons": []}
CONTEXT = {
    "model": "ollama/llama3:8b",
    "window": 8192,
    "input_tokens": 1200,
    "reserved_output": 2048,
    "blocks": [
        {"id": "query", "kind": "query", "priority": 1, "tokens": 12, "outcome": "kept", "reason": "never trimmed"},
        {"id": "chunk-3", "kind": "chunk", "priority": 3, "tokens": 0, "outcome": "dropped", "reason": "no room"},
    ],
}
DONE = {
    "model": "ollama/llama3:8b",
    "location": "loopback",
    "finish_reason": "stop",
    "input_tokens": 1200,
    "output_tokens": 3,
    "cost_usd": None,
    "latency_ms": 1234,
    "time_to_first_token_ms": 80,
    "attempt_count": 1,
    "warnings": ["the price is unknown"],
    "ledger": "stored",
}


def events(*pairs: tuple[str, Any]) -> bytes:
    lines = [f"id: {i}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for i, (name, data) in enumerate(pairs, 1)]
    return ": hello\n\n".join(lines).encode()


ANSWER = events(
    ("route", ROUTE), ("context", CONTEXT), ("token", {"text": "Hal"}), ("token", {"text": "lo"}), ("done", DONE)
)


@dataclass
class Script:
    """What the scripted sidecar answers, and what it was asked."""

    port: int
    status: int = 200
    content_type: str = "application/json"
    body: bytes = b"{}"
    hold: bool = False
    """Leave the stream open after the body."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client of a held stream has closed its connection."""

    def answers(self, body: Any, status: int = 200) -> None:
        self.status, self.body, self.content_type = status, json.dumps(body).encode(), "application/json"

    def streams(self, body: bytes, hold: bool = False) -> None:
        self.body, self.content_type, self.hold = body, "text/event-stream", hold


@contextmanager
def scripted_sidecar() -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            script.asked.append((self.command, self.path, json.loads(self.rfile.read(size) or b"null")))
            script.tokens.append(self.headers.get("Authorization"))
            self.send_response(script.status)
            self.send_header("Content-Type", script.content_type)
            self.end_headers()
            self.wfile.write(script.body)
            self.wfile.flush()
            if script.hold and not self.connection.recv(1):
                script.gone.set()

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script = Script(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
