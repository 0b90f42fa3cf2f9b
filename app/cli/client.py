"""The running sidecar as the commands see it: where it is, its token, its JSON, its events."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.cli.common import CliError, ExitCode, base_url, read_token
from app.settings import Settings

CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 60.0
"""A stream says something every 15 s; after this it is taken to be dead."""

_JSON = {"Content-Type": "application/json"}
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream. `data` is the decoded JSON."""

    name: str
    data: Any
    id: str | None = None


class EventDecoder:
    """Bytes as they arrive -> events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Lines end at CR and LF only: a JSON text may hold other characters that `str.splitlines` cuts at.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._id: str | None = None

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that are whole now. Raises `CliError` for data that is not JSON."""
        *lines, self._rest = _LINE_END.split(self._rest + data)
        events = (self._line(line.decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name or "message", "\n".join(self._data)
        self._name, self._data = "", []
        if not data:
            return None
        try:
            return ServerEvent(name, json.loads(data), self._id)
        except ValueError:
            raise CliError(f"the sidecar sent an event {name!r} that is not JSON") from None


class Sidecar:
    """Speaks to one running sidecar. Every method raises `CliError` with the remedy."""

    def __init__(self, settings: Settings) -> None:
        self.url = base_url(settings)
        token = read_token(settings)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # trust_env off: a proxy of the environment must never see what goes to this machine's own sidecar.
        try:
            self._client = httpx.Client(
                base_url=self.url,
                headers=headers,
                trust_env=False,
                timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            )
        except httpx.InvalidURL:
            raise CliError(f"SIDECAR_HOST: {settings.host!r} is no host", ExitCode.USAGE) from None

    def __enter__(self) -> Sidecar:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The decoded JSON of a GET."""
        with self._translated():
            return _decoded(self._client.get(path, params=params))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded JSON of a POST; waits as long as the answer takes."""
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        content = _packed(body)
        with self._translated():
            return _decoded(self._client.post(path, content=content, headers=_JSON, timeout=timeout))

    def delete(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The decoded JSON of a DELETE; None where it answers nothing."""
        with self._translated():
            response = self._client.delete(path, params=params, timeout=httpx.Timeout(None, connect=CONNECT_SECONDS))
            return None if response.status_code == 204 else _decoded(response)

    def download(self, path: str, params: Mapping[str, str] | None = None) -> Generator[bytes, None, None]:
        """The body of a GET as it comes, whatever its size."""
        with self._translated(), self._client.stream("GET", path, params=params) as response:
            if response.status_code != 200:
                response.read()
                _decoded(response)
            yield from response.iter_bytes()

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[ServerEvent, None, None]:
        """The events of a POST as they come; closing the iterator closes the connection, which cancels the answer."""
        return self._events("POST", path, body)

    def watch(self, path: str) -> Generator[ServerEvent, None, None]:
        """The events of a GET as they come."""
        return self._events("GET", path, None)

    def _events(self, method: str, path: str, body: Mapping[str, Any] | None) -> Generator[ServerEvent, None, None]:
        decoder = EventDecoder()
        headers = {"Accept": "text/event-stream", **(_JSON if body is not None else {})}
        content = _packed(body) if body is not None else None
        with self._translated(), self._client.stream(method, path, content=content, headers=headers) as response:
            if response.status_code != 200:
                response.read()
                _decoded(response)
            for data in response.iter_bytes():
                yield from decoder.feed(data)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """httpx's errors as ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise CliError(
                f"no sidecar is running at {self.url}; start one with `llm-sidecar serve` (or `make run`), "
                "or set SIDECAR_PORT to the port it listens on",
                ExitCode.NOT_RUNNING,
            ) from None
        except httpx.TimeoutException:
            raise CliError(f"the sidecar at {self.url} has been silent for {SILENCE_SECONDS:.0f} s") from None
        except httpx.HTTPError as error:
            raise CliError(f"the connection to the sidecar at {self.url} broke: {type(error).__name__}") from None


def _packed(body: Mapping[str, Any]) -> bytes:
    """Raises `CliError` for numbers that JSON has not."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise  # an argument: see `app.cli.root`
    except ValueError:
        raise CliError("a number given is no number that JSON has (NaN, Infinity)", ExitCode.USAGE) from None


def _decoded(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code == 401:
        raise CliError(
            "the sidecar refused the token; it is the one of the data folder it was started with: "
            "set SIDECAR_DATA_DIR (or SIDECAR_TOKEN) to the same as for `serve`",
            ExitCode.UNAUTHORIZED,
        )
    if response.status_code >= 400:
        raise CliError(problem_text(body) or f"the sidecar answered {response.status_code}")
    if body is None:
        raise CliError(f"what listens at {response.url.host}:{response.url.port} does not answer like a sidecar")
    return body


def problem_text(body: Any) -> str:
    """A problem body (RFC 9457) as one line: the detail and the code."""
    if not isinstance(body, Mapping):
        return ""
    text, code = str(body.get("detail") or body.get("title") or ""), body.get("code")
    return f"{text} ({code})" if text and code else text or str(code or "")
