"""Where builds are read from: GitHub Actions, GitLab CI, JUnit reports in a folder, a log file, any JSON.

Each reader returns the latest finished build of its source, or raises a `SidecarError` with a sentence. Servers are
asked through the run's own client, so a private workspace asks nobody outside; files are read in a thread, and no more
of them than is looked at.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
import re2
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from app.agents.base import OutsideHttp
from app.agents.builds import Build, State
from app.errors import SidecarError

MAX_LOG_BYTES: Final = 8_000_000
TAIL_BYTES: Final = 1_000_000
"""Of a local log file."""
MAX_REPORTS: Final = 500
MAX_REPORT_BYTES: Final = 20_000_000
GITHUB: Final = "https://api.github.com"
GITLAB: Final = "https://gitlab.com/api/v4"

PASSING: Final = frozenset({"success", "succeeded", "passed", "passing", "ok", "green", "true", "completed"})
FAILING: Final = frozenset({"failure", "failed", "failing", "error", "errored", "red", "timed_out", "broken", "false"})
RUNNING: Final = frozenset({"running", "pending", "queued", "in_progress", "created", "waiting", "building"})
_FAILED_LINE = r"(?i)\b(?:build failed|failed|failure|fatal|error:|panicked|traceback)\b"
_PASSED_LINE = r"(?i)\b(?:build succe\w+|all tests passed|passed|success|succeeded|finished)\b"

Secret = Callable[[str], Awaitable[str | None]]
"""The value of an environment variable or keyring entry, by name."""


class SourceFailed(SidecarError):
    """A source that cannot be read now."""

    code, title = "source_failed", "Source cannot be read"


@dataclass(frozen=True, slots=True)
class Source:
    """One watched build: its settings in agents.yaml."""

    name: str
    kind: str
    settings: Mapping[str, Any]

    def get(self, key: str, default: str = "") -> str:
        return str(self.settings.get(key) or default)


async def read_build(source: Source, http: OutsideHttp, secret: Secret) -> Build:
    """The latest finished build. Raises `SidecarError`."""
    match source.kind:
        case "github_actions":
            return await _github(source, _Api(http, GITHUB, await _github_headers(source, secret)))
        case "gitlab_ci":
            return await _gitlab(source, _Api(http, GITLAB, await _gitlab_headers(source, secret)))
        case "junit":
            return await asyncio.to_thread(read_junit, Path(source.get("folder")))
        case "log":
            passed, failed = source.get("passed", _PASSED_LINE), source.get("failed", _FAILED_LINE)
            return await asyncio.to_thread(read_log, Path(source.get("file")), passed, failed)
        case _:
            return await _json(source, http)


def state_of(word: object) -> State:
    """What a service's word for the state of a build means."""
    text = str(word).strip().lower()
    if text in PASSING:
        return "passing"
    if text in FAILING:
        return "failing"
    return "running" if text in RUNNING else "unknown"


# -- servers


@dataclass(frozen=True, slots=True)
class _Api:
    http: OutsideHttp
    base: str
    headers: Mapping[str, str]

    async def json(self, base: str, path: str) -> Any:
        response = await self.http.get(f"{base or self.base}{path}", headers=self.headers)
        if response.status == 429 or (response.status == 403 and response.headers.get("x-ratelimit-remaining") == "0"):
            raise SourceFailed("asks us to come back later (too many requests)")
        if response.status != 200:
            raise SourceFailed(f"answers {response.status}" + _remedy(response.status))
        return _parsed(response.body)

    async def text(self, base: str, path: str) -> str:
        """A log; empty where it is not to be had: a build is broken with or without it."""
        try:
            url = f"{base or self.base}{path}"
            response = await self.http.get(url, headers=self.headers, max_bytes=MAX_LOG_BYTES)
        except SidecarError:
            return ""
        return response.body.decode("utf-8", "replace") if response.status == 200 else ""


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "; the token named by token_env is missing, wrong, or may not read this"
    return "; is the name right, and does it need a token (token_env)?" if status == 404 else ""


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SourceFailed("answers with what is no JSON") from None


async def _github_headers(source: Source, secret: Secret) -> dict[str, str]:
    headers = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
    token = await secret(source.get("token_env", "GITHUB_TOKEN"))
    return headers | ({"authorization": f"Bearer {token}"} if token else {})


async def _gitlab_headers(source: Source, secret: Secret) -> dict[str, str]:
    token = await secret(source.get("token_env", "GITLAB_TOKEN"))
    return {"private-token": token} if token else {}


async def _github(source: Source, api: _Api) -> Build:
    base, repo = source.get("api_base"), source.get("repo")
    workflow = f"/workflows/{quote(source.get('workflow'), safe='')}" if source.get("workflow") else ""
    branch = f"&branch={quote(source.get('branch'), safe='')}" if source.get("branch") else ""
    root = f"/repos/{quote(repo, safe='/')}/actions"
    found = await api.json(base, f"{root}{workflow}/runs?status=completed&per_page=10{branch}")
    for run in _rows(found, "workflow_runs"):
        state = state_of(run.get("conclusion"))
        if state not in ("passing", "failing"):
            continue  # cancelled, skipped: says nothing
        number = f"{run.get('id')}.{run.get('run_attempt', 1)}"
        seconds = _seconds(run.get("run_started_at"), run.get("updated_at"))
        url = str(run.get("html_url") or "") or None
        if state == "passing":
            return Build(number, state, url, seconds)
        failed, log = await _github_failures(api, base, root, run)
        return Build(number, state, url, seconds, log, failed)
    raise SourceFailed("has no finished build yet")


async def _github_failures(api: _Api, base: str, root: str, run: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    found = await api.json(base, f"{root}/runs/{run.get('id')}/jobs?per_page=100")
    jobs = [job for job in _rows(found, "jobs") if state_of(job.get("conclusion")) == "failing"]
    failed = []
    for job in jobs:
        steps = [step for step in _rows(job, "steps") if state_of(step.get("conclusion")) == "failing"]
        failed += [f"{job.get('name')} / {step.get('name')}" for step in steps] or [str(job.get("name"))]
    log = await api.text(base, f"{root}/jobs/{jobs[0].get('id')}/logs") if jobs else ""
    return tuple(failed), log


async def _gitlab(source: Source, api: _Api) -> Build:
    base, project = source.get("api_base"), quote(source.get("project"), safe="")
    ref = f"&ref={quote(source.get('branch'), safe='')}" if source.get("branch") else ""
    found = await api.json(base, f"/projects/{project}/pipelines?per_page=10{ref}")
    for pipeline in _rows(found):
        state = state_of(pipeline.get("status"))
        if state not in ("passing", "failing"):
            continue
        number, url = str(pipeline.get("id")), str(pipeline.get("web_url") or "") or None
        detail = await api.json(base, f"/projects/{project}/pipelines/{number}")
        seconds = detail.get("duration") if isinstance(detail, Mapping) else None
        seconds = float(seconds) if isinstance(seconds, int | float) else None
        if state == "passing":
            return Build(number, state, url, seconds)
        jobs = _rows(await api.json(base, f"/projects/{project}/pipelines/{number}/jobs?scope[]=failed&per_page=50"))
        log = await api.text(base, f"/projects/{project}/jobs/{jobs[0].get('id')}/trace") if jobs else ""
        return Build(number, state, url, seconds, log, tuple(str(job.get("name")) for job in jobs))
    raise SourceFailed("has no finished build yet")


async def _json(source: Source, http: OutsideHttp) -> Build:
    response = await http.get(source.get("url"))
    if response.status != 200:
        raise SourceFailed(f"answers {response.status}")
    document = _parsed(response.body)
    word = value_at(document, source.get("status"))
    if word is None:
        raise SourceFailed(f"has nothing at `{source.get('status')}`")
    state = state_of(word)
    for name, meant in (("passing", "passing"), ("failing", "failing")):
        if str(word) in [str(one) for one in source.settings.get(name, ())]:
            state = meant  # type: ignore[assignment]
    id_path, url_path, log_path = source.get("id"), source.get("link"), source.get("log")
    number = value_at(document, id_path) if id_path else None
    link = value_at(document, url_path) if url_path else None
    log = value_at(document, log_path) if log_path else ""
    # Without an id a build is known by its state alone: only a change of it is another build.
    return Build(
        str(number) if number is not None else f"{word}", state, str(link) if link else None, None, str(log or "")
    )


def value_at(document: Any, path: str) -> Any:
    """`jobs[0].status` in a JSON document; None where there is nothing."""
    value = document
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _rows(found: Any, key: str | None = None) -> list[Mapping[str, Any]]:
    rows = found.get(key) if key is not None and isinstance(found, Mapping) else found
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _seconds(begin: object, end: object) -> float | None:
    try:
        return max(0.0, (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(begin))).total_seconds())
    except (ValueError, TypeError):
        return None


# -- files


def read_junit(folder: Path) -> Build:
    """All reports of the folder as one build. Raises `SourceFailed`."""
    folder = folder.expanduser()
    if not folder.is_dir():
        raise SourceFailed(f"there is no folder {folder}")
    files = sorted(folder.rglob("*.xml"))[:MAX_REPORTS]
    digest, tests, seconds = sha256(), 0, 0.0
    failed: list[str] = []
    log: list[str] = []
    for file in files:
        data = _report(file)
        digest.update(file.name.encode("utf-8", "surrogatepass") + data)
        for case in _cases(file, data):
            tests += 1
            seconds += _number(case.get("time"))
            for what in (child for child in case if child.tag.rpartition("}")[2] in ("failure", "error")):
                name = f"{case.get('classname') or ''}.{case.get('name') or ''}".strip(".")
                failed.append(name)
                log.append(f"FAILED {name}: {what.get('message') or ''}\n{what.text or ''}")
    if not tests:
        raise SourceFailed(f"there is no test in the reports of {folder}")
    state: State = "failing" if failed else "passing"
    return Build(digest.hexdigest()[:32], state, None, seconds, "\n".join(log)[:MAX_LOG_BYTES], tuple(failed))


def _report(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_REPORT_BYTES:
            raise SourceFailed(f"the report {file.name} is larger than {MAX_REPORT_BYTES // 1_000_000} MB")
        return file.read_bytes()
    except OSError as error:
        raise SourceFailed(f"the report {file.name} cannot be read: {error.strerror}") from None


def _cases(file: Path, data: bytes) -> list[Any]:
    try:
        root = ElementTree.fromstring(data, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError):
        raise SourceFailed(f"the report {file.name} is no XML that may be read") from None
    return [element for element in root.iter() if str(element.tag).rpartition("}")[2] == "testcase"]


def _number(text: str | None) -> float:
    try:
        return max(0.0, float((text or "0").replace(",", "")))
    except ValueError:
        return 0.0


def read_log(file: Path, passed: str, failed: str) -> Build:
    """A log file that a build writes: its state is what its last telling line says. Raises `SourceFailed`."""
    file = file.expanduser()
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            text = stream.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise SourceFailed(f"{file} cannot be read: {error.strerror}") from None
    state: State = "unknown"
    good, bad = line_pattern(passed), line_pattern(failed)
    for line in reversed(text.splitlines()):
        if bad.search(line):
            state = "failing"
        elif good.search(line):
            state = "passing"
        if state != "unknown":
            break
    return Build(sha256(text.encode()).hexdigest()[:32], state, None, None, text)


def line_pattern(pattern: str) -> Any:
    """A user's regular expression, by the linear-time engine. Raises `SourceFailed`."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise SourceFailed("`passed` or `failed` is no regular expression") from None
