"""prompt: an agent written in agents.yaml alone: a prompt with named fields, on a schedule; news when it is news.

- name: standup
  agent: prompt
  schedule: "0 9 * * 1-5"
  settings:
    prompt: "What should $person do first today, and why?"
    retrieve: "next steps of $person"
    schema: {type: object, properties: {first: {type: string}, urgent: {type: boolean}}, required: [first, urgent]}
    notify: {title: "$first", when: {urgent: true}}
  input: {person: Ann}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

import orjson

from app.agents.answers import compile_when, fill, template_problem
from app.agents.base import Agent, AgentContext, AgentResult, Lack
from app.agents.checking import schema_problem
from app.config.schema import AgentEntry
from app.context.blocks import CodeChunk
from app.memory.chunks import Chunk, chunk_id, content_hash
from app.routing.conditions import ConditionError

OWN_FIELDS: Final = ("date", "time", "workspace", "agent", "last_answer", "last_run")
"""Fields that are there without being given; an input of the same name goes before."""
ANSWER_FIELDS: Final = ("answer",)
"""Also of a notification's title and body, beside the members of a structured answer."""
MAX_CHUNKS: Final = 8
_TEMPLATE: Final = {"type": "string", "minLength": 1, "maxLength": 20_000}
_SHOWN = 2_000


class PromptAgent(Agent):
    """Asks, keeps the answer as a document of its own, and tells people where its `notify.when` holds."""

    name = "prompt"
    description = "A prompt of your own, written in agents.yaml: what to ask, what to look up, when to tell you."
    input_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
        "maxProperties": 64,
    }
    settings_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "prompt": _TEMPLATE,
            "system": _TEMPLATE,
            "task_type": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
            "model": {"type": "string", "minLength": 1, "maxLength": 256},
            "max_output_tokens": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
            "retrieve": _TEMPLATE,
            "chunks": {"type": "integer", "minimum": 1, "maximum": 50},
            "schema": {"type": "object"},
            "remember": {"type": "boolean"},
            "notify": {
                "type": "object",
                "properties": {
                    "title": _TEMPLATE,
                    "body": _TEMPLATE,
                    "severity": {"enum": ["info", "success", "warning", "error"]},
                    "when": {"type": "object"},
                },
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }
    rerun_is_safe = True

    @classmethod
    def lacks(cls, entry: AgentEntry) -> Sequence[Lack]:
        if entry.settings.get("prompt"):
            return ()
        return (Lack("`settings.prompt`, what to ask", "write it in agents.yaml; docs/guide/agents.md has examples"),)

    @classmethod
    def problems(cls, entry: AgentEntry) -> Iterable[tuple[str, str]]:
        settings = entry.settings
        fields = {*OWN_FIELDS, *entry.input}
        for key in ("prompt", "system", "retrieve"):
            if problem := template_problem(settings.get(key, ""), fields):
                yield f"settings.{key}", problem
        schema = settings.get("schema")
        if schema is not None and (problem := schema_problem(schema)):
            yield "settings.schema", f"is no JSON Schema: {problem}"
        notify = settings.get("notify") or {}
        told = {*fields, *ANSWER_FIELDS, *_members(schema)}
        for key in ("title", "body"):
            if problem := template_problem(notify.get(key, ""), told):
                yield f"settings.notify.{key}", problem
        try:
            compile_when(notify.get("when", {}))
        except ConditionError as error:
            for path, words in error.problems:
                yield f"settings.notify.when.{path}" if path else "settings.notify.when", words

    async def run(self, context: AgentContext) -> AgentResult:
        settings = context.settings
        fields = _fields(context)
        prompt = fill(settings["prompt"], fields, "the prompt")
        chunks = await _retrieved(context, fields)
        context.progress("asking the model")
        text, answer = await _ask(context, prompt, fields, chunks)
        changed = answer != context.state.get("answer")
        context.state |= {"answer": answer, "text": text, "at": context.now().isoformat()}
        stored = [await context.store.put("answer", context.run_id, {"text": text, "answer": answer})]
        if settings.get("remember"):
            stored += await _remember(context, text)
        told = await _tell(context, fields, text, answer, changed)
        data = {"answer": answer, "changed": changed, "chunks": len(chunks), "told": told}
        return AgentResult(text, data, stored)


def _members(schema: object) -> set[str]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return {str(name) for name in properties} if isinstance(properties, Mapping) else set()


def _fields(context: AgentContext) -> dict[str, str]:
    """Every field of the prompt. No clock finer than a minute: a prompt should differ only where its matter does."""
    now = _local(context)
    last = context.last_success
    own = {
        "date": f"{now:%Y-%m-%d}",
        "time": f"{now:%H:%M}",
        "workspace": context.workspace,
        "agent": context.agent,
        "last_answer": str(context.state.get("text", "")),
        "last_run": "never" if last is None else last.astimezone(now.tzinfo).strftime("%Y-%m-%d %H:%M"),
    }
    return own | {name: _words(value) for name, value in context.input.items()}


def _local(context: AgentContext) -> datetime:
    zone = context.workspace_profile.timezone
    return context.now().astimezone(ZoneInfo(zone) if zone else None)


def _words(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def _retrieved(context: AgentContext, fields: Mapping[str, str]) -> list[CodeChunk]:
    wanted = context.settings.get("retrieve")
    if not wanted:
        return []
    context.progress("looking in the index")
    hits = await context.memory.search(fill(wanted, fields, "retrieve"), context.settings.get("chunks", MAX_CHUNKS))
    found = [hit.chunk for hit in hits]
    context.log.info(f"{len(found)} pieces of the index: {', '.join(sorted({c.path for c in found})) or 'none'}"[:500])
    return [CodeChunk(c.text, c.path, c.start_line, c.end_line, None, c.symbol) for c in found]


async def _ask(
    context: AgentContext, prompt: str, fields: Mapping[str, str], chunks: Sequence[CodeChunk]
) -> tuple[str, Any]:
    """(the answer as people read it, the answer as a value): text, or what fits the schema."""
    settings = context.settings
    system = fill(settings["system"], fields, "system") if "system" in settings else None
    shared: dict[str, Any] = {
        "task_type": settings.get("task_type", "chat"),
        "system": system,
        "chunks": chunks,
        "model": settings.get("model"),
        "max_output_tokens": settings.get("max_output_tokens"),
    }
    if (schema := settings.get("schema")) is None:
        text = (await context.llm_router.ask(prompt, **shared)).text
        return text, text
    value = (await context.llm_router.ask_json(prompt, schema, **shared)).value
    lines = [f"- **{name}**: {_words(member)}" for name, member in value.items()] if isinstance(value, dict) else []
    return "\n".join(lines) or _words(value), value


async def _remember(context: AgentContext, text: str) -> list[str]:
    """The answer as a text of the workspace's index: one per agent, the newest. Its ids."""
    if context.memory.would_close:
        context.log.warning("not remembered: the run has read something private, and would make the index private")
        return []
    path = f"agents/{context.agent}.md"
    body = f"# {context.agent}, {_local(context):%Y-%m-%d %H:%M}\n\n{text}"
    whole = content_hash(body.encode("utf-8", "replace"))
    lines = body.count("\n") + 1
    await context.memory.put([Chunk(chunk_id(path, body, 0), path, 1, lines, body, None, "markdown", whole)], [path])
    return [f"chunk:{path}"]


async def _tell(context: AgentContext, fields: Mapping[str, str], text: str, answer: Any, changed: bool) -> str | None:
    notify = context.settings.get("notify")
    if notify is None:
        return None
    members: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    why_not = compile_when(notify.get("when", {})).why_not({"text": text, "changed": changed, **members})
    if why_not is not None:
        context.log.info(f"nobody is told: {why_not}")
        return None
    told = {**fields, "answer": text, **{name: _words(value) for name, value in members.items()}}
    lines = fill(notify.get("title", "$agent"), told, "notify.title").strip().splitlines() or [context.agent]
    body = fill(notify.get("body", "$answer"), told, "notify.body")[:_SHOWN]
    return await context.notification_service.notify(lines[0][:200], body, severity=notify.get("severity", "info"))
