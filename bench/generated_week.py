"""A week of a person's work through the real API, and whether every way of asking says the same about it.

    python -m bench.generated_week [--requests 400] [--seed 7] [--serve] [--screenshots DIR]

A sidecar runs as in the tests: real files, real SQLite, real HTTP; the models are played by a fake that speaks the
providers' wires. Only the clock is ours. It stands at an hour of the week for each request, and runs `HASTE` times as
fast while one is answered, so that answers take seconds of it; the rows are written by the ledger as any others.

Then the same sums are asked of SQLite itself, of `GET /api/v1/usage` (as totals and added up from groups, the
dashboard's among them), of `/usage/records` and of `llm-sidecar usage`, and compared to the micro-dollar. Ends with 1
where any two differ. `--serve` keeps the sidecar for looking at; `--screenshots` takes pictures of the dashboard.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from app.llm.clock import Clock
from tests.fakes.providers import FakeProvider, Reply, Status, Step
from tests.fakes.sidecar import TOKEN, RunningSidecar, running_sidecar

HASTE = 150.0
"""Seconds of the sidecar's clock in one of ours."""
DAYS = 7
ZONE = "Europe/Berlin"
SONNET, GPT, FLASH = "claude-sonnet-4-5-20250929", "gpt-4o", "gemini/gemini-2.0-flash"
LLAMA, CODER, UNPRICED = "ollama/llama3:8b", "ollama/codellama:13b", "openai/preview"
SAID = ("Certainly", ": ", "the ", "window ", "holds ", "what ", "fits", ".")


@dataclass
class WeekClock:
    """Jumps to where it is told, and hastens on from there."""

    origin: datetime
    began: float = field(default_factory=time.monotonic)

    def stand_at(self, moment: datetime) -> None:
        self.origin, self.began = moment, time.monotonic()

    def now(self) -> datetime:
        return self.origin + timedelta(seconds=(time.monotonic() - self.began) * HASTE)

    def monotonic(self) -> float:
        return time.monotonic() * HASTE

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)

    def clock(self) -> Clock:
        return Clock(now=self.now, monotonic=self.monotonic, sleep=self.sleep, chance=lambda: 0.5)


@dataclass(frozen=True)
class Ask:
    """One request of the week, and what the model's server will do with it."""

    at: datetime
    body: dict[str, Any]
    steps: tuple[Step, ...]
    model: str


def config(url: str) -> dict[str, Any]:
    cloud = {"location": "cloud", "api_key_env": "WEEK_KEY"}
    return {
        "models": [
            {"id": LLAMA, "api_base": url, "context_window": 8192, "tokenizer": "llama3"},
            {"id": CODER, "api_base": url, "context_window": 16384, "tokenizer": "llama2"},
            {"id": SONNET, "api_base": url, **cloud},
            {"id": GPT, "api_base": f"{url}/v1", **cloud},
            {"id": FLASH, "api_base": url, **cloud, "input_cost_per_million": 0.1, "output_cost_per_million": 0.4},
            {"id": UNPRICED, "api_base": f"{url}/v1", **cloud, "context_window": 32000},
            {"id": "builtin/extractive", "context_window": 1048576},
        ],
        "rules": [
            {"name": "work_stays_local", "conditions": {"workspace": "work"}, "model": CODER, "fallback": LLAMA},
            {
                "name": "complex_reasoning",
                "conditions": {"task_type": ["debugging", "refactoring", "architecture"]},
                "model": SONNET,
                "fallback": [GPT, LLAMA],
            },
            {"name": "long_texts", "conditions": {"task_type": ["research", "long_context"]}, "model": FLASH},
            {"name": "preview", "conditions": {"task_type": "creative"}, "model": UNPRICED},
            {"name": "default", "conditions": {}, "model": LLAMA, "fallback": "builtin/extractive"},
        ],
        "profiles": [
            {"id": "personal", "name": "Personal", "timezone": ZONE},
            {"id": "work", "name": "Work", "block_cloud_apis": True, "timezone": ZONE},
            {
                "id": "thesis",
                "name": "Thesis",
                "timezone": ZONE,
                "budgets": [{"period": "week", "limit_usd": 20.0, "alert_at": [0.5, 0.8, 1.0], "on_limit": "alert"}],
            },
        ],
        "models_extra": {"upgrades": [SONNET], "summarizer": LLAMA},
    }


ROUTES = {
    "debugging": (SONNET, 0.22), "chat": (LLAMA, 0.24), "refactoring": (SONNET, 0.12), "architecture": (SONNET, 0.06),
    "summarization": (LLAMA, 0.10), "research": (FLASH, 0.12), "completion": (LLAMA, 0.10),
    "creative": (UNPRICED, 0.04),
}  # fmt: skip
"""Task type: who answers outside the private workspace, and how often it is asked."""


def week(count: int, seed: int, until: datetime) -> list[Ask]:
    """Working hours of working days mostly; the same for the same seed."""
    chance = random.Random(seed)
    moments: list[datetime] = []
    while len(moments) < count:
        moment = until - timedelta(seconds=chance.uniform(300, DAYS * 86400))
        busy = (1.0 if moment.weekday() < 5 else 0.25) * (1.0 if 8 <= moment.hour < 18 else 0.12)
        if chance.random() < busy:
            moments.append(moment)
    return [_ask(chance, moment) for moment in sorted(moments)]


def _ask(chance: random.Random, at: datetime) -> Ask:
    task = chance.choices(list(ROUTES), [share for _, share in ROUTES.values()])[0]
    workspace = chance.choices(["personal", "thesis", "work"], [0.45, 0.3, 0.25])[0]
    model = CODER if workspace == "work" else ROUTES[task][0]
    read = min(int(chance.lognormvariate(8.4, 1.0)), 40_000 if model in (SONNET, FLASH) else 7_000)
    written = min(int(chance.lognormvariate(5.7, 0.8)), 4000)
    cached = read // 2 if model in (SONNET, GPT) and chance.random() < 0.3 else 0
    delay = chance.lognormvariate(-7.0, 0.5) * (1.8 if model in (SONNET, CODER) else 1.0)
    reply = Reply(SAID, input_tokens=read, output_tokens=written, cached_input_tokens=cached, delay=delay)
    fault = chance.random()
    steps: tuple[Step, ...] = (reply,)
    if fault < 0.02:
        steps = (Status(529), reply)
    elif fault < 0.035:
        steps = (Status(400, message="the request is malformed"),)
    return Ask(at, {"query": "a question of the week", "workspace": workspace, "task_type": task}, steps, model)


@asynccontextmanager
async def generated(
    folder: Path, count: int, seed: int, until: datetime | None = None
) -> AsyncIterator[RunningSidecar]:
    """A sidecar that has had the week behind it, its clock standing at the end (None: now)."""
    end = until or datetime.now(UTC)
    clock = WeekClock(end - timedelta(days=DAYS))
    with patch.dict(os.environ, {"WEEK_KEY": "sk-week-0123456789abcdefghijklmnop"}):
        async with (
            FakeProvider(models={"llama3:8b": 8192, "codellama:13b": 16384}) as provider,
            running_sidecar(folder, clock=clock.clock(), **config(provider.url)) as sidecar,
        ):
            for ask in week(count, seed, end):
                clock.stand_at(ask.at)
                provider.forget()
                provider.script(*ask.steps, model=ask.model.partition("/")[2] or ask.model)
                await sidecar.http.post("/api/v1/chat", json={**ask.body, "stream": False})
            clock.stand_at(end)
            yield sidecar


SUMS = ("attempts", "input_tokens", "output_tokens", "cost_micro_usd")
SQL = """SELECT count(*) AS attempts, coalesce(sum(input_tokens), 0) AS input_tokens,
    coalesce(sum(output_tokens), 0) AS output_tokens, coalesce(sum(cost_micro_usd), 0) AS cost_micro_usd
    FROM llm_usage_log"""
GROUPINGS = ("model", "day,model", "task_type,workspace", "hour", "week", "rule,location,provider")


async def every_answer(sidecar: RunningSidecar) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """Who was asked, and the sums it gave."""
    yield "SQLite itself", sidecar.rows(SQL)[0]
    span = {"from": (datetime.now(UTC) - timedelta(days=DAYS + 2)).date().isoformat(), "tz": ZONE}
    for group_by in GROUPINGS:
        answer = await sidecar.http.get("/api/v1/usage", params={**span, "group_by": group_by})
        report = answer.raise_for_status().json()
        if group_by == GROUPINGS[0]:
            yield "GET /usage, totals", _sums([report["totals"]])
        yield f"GET /usage, groups by {group_by}", _sums(report["groups"])
    yield "GET /usage/records, every page", _sums([r async for r in _records(sidecar, span)])
    yield "llm-sidecar usage --json", _sums([(await _command(sidecar, "--by", "model", "--json"))["totals"]])


def _sums(parts: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(part[name] or 0 for part in parts) for name in SUMS}


async def _records(sidecar: RunningSidecar, span: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        params = {**span, "limit": "250", **({"cursor": cursor} if cursor else {})}
        page = (await sidecar.http.get("/api/v1/usage/records", params=params)).raise_for_status().json()
        for record in page["records"]:
            yield {**record, "attempts": 1}
        cursor = page["next_cursor"]


async def _command(sidecar: RunningSidecar, *arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "usage", *arguments),
        env={**os.environ, "SIDECAR_PORT": str(sidecar.settings.port), "SIDECAR_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    found: dict[str, Any] = json.loads(said)
    return found


def differing(answers: dict[str, dict[str, int]]) -> Iterator[str]:
    expected = next(iter(answers.values()))
    return (who for who, sums in answers.items() if any(sums[name] != expected[name] for name in SUMS))


async def link_of(sidecar: RunningSidecar) -> str:
    made = (await sidecar.http.post("/api/v1/dashboard/link", json={})).json()
    return f"{sidecar.url}{made['path']}"


async def take_pictures(sidecar: RunningSidecar, folder: Path) -> None:
    from playwright.async_api import async_playwright

    from tests.browser.chromium import FLAGS, MISSING, find_chromium

    chromium = find_chromium()
    if chromium is None:
        print(f"no pictures: {MISSING}")
        return
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for width, scheme in ((1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")):
            context = await browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
                timezone_id=ZONE,
            )
            page = await context.new_page()
            await page.goto(await link_of(sidecar))
            await page.wait_for_selector("#spend-chart .chart[data-drawn]")
            await page.wait_for_selector("#latency-chart .chart[data-drawn]")
            await page.screenshot(path=folder / f"week-{width}-{scheme}.png", full_page=True)
            await context.close()
        await browser.close()


async def run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with generated(Path(folder), options.requests, options.seed) as sidecar:
            print(f"{options.requests} requests in {time.monotonic() - began:.1f} s\n")
            answers = {who: sums async for who, sums in every_answer(sidecar)}
            print(f"{'asked':<42}{'attempts':>9}{'input':>12}{'output':>11}{'dollars':>13}")
            for who, sums in answers.items():
                dollars = sums["cost_micro_usd"] / 1e6
                print(
                    f"{who:<42}{sums['attempts']:>9,}{sums['input_tokens']:>12,}{sums['output_tokens']:>11,}{dollars:>13.6f}"
                )
            wrong = list(differing(answers))
            print("\nall agree" if not wrong else f"\nDIFFERENT: {', '.join(wrong)}")
            if options.screenshots:
                await take_pictures(sidecar, options.screenshots)
            if options.serve:
                print(f"\nlook at it: {await link_of(sidecar)}\nCtrl-C ends it")
                await asyncio.Event().wait()
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="A generated week, and whether every figure of it agrees.")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help="keep the sidecar running, and print the dashboard's link")
    parser.add_argument("--screenshots", type=Path, help="take pictures of the dashboard into this folder")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
