"""A session's state: what it is about, in a few fields that models and people both can read and write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.chat.records import StoredMessage
from app.context.extract import sentences_of

STATE_CHARACTERS: Final = 8_000
"""As JSON. The state is never trimmed from a prompt: about 2,000 tokens, a quarter of the smallest usual window."""
CAPTURED_ITEMS: Final = 12
CAPTURED_CHARACTERS: Final = 300

Line = Annotated[str, Field(max_length=2_000)]
Lines = Annotated[list[Line], Field(max_length=100)]

TEXTS: Final = ("goal", "current_task")
LISTS: Final = ("open_files", "findings", "blockers", "next_steps")


class SessionState(BaseModel):
    """Every field may be absent; further fields of any JSON value are kept as they are."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "goal": "Make start-up faster",
                    "current_task": "Profile the import of the catalog",
                    "open_files": ["app/main.py"],
                    "findings": ["litellm's import takes 1.7 s"],
                    "next_steps": ["import it in a thread"],
                }
            ]
        },
    )

    goal: Line | None = Field(None, description="What the session is for.")
    current_task: Line | None = Field(None, description="What is being done now.")
    open_files: Lines = Field([], description="Paths of the files being worked on.")
    findings: Lines = Field([], description="What was found out or decided.")
    blockers: Lines = Field([], description="What stands in the way.")
    next_steps: Lines = Field([], description="What comes next.")

    @model_validator(mode="after")
    def _small_enough(self) -> SessionState:
        if any(len(name) > 64 for name in self.model_extra or {}):
            raise ValueError("a field's name must be of at most 64 characters")
        size = len(json.dumps(self.data(), ensure_ascii=False))
        if size > STATE_CHARACTERS:
            raise ValueError(f"the state must be of at most {STATE_CHARACTERS} characters as JSON, this one has {size}")
        return self

    def data(self) -> dict[str, Any]:
        """The fields that were given, as JSON values."""
        return self.model_dump(exclude_unset=True)


CAPTURE_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        **{name: {"type": "array", "items": {"type": "string"}} for name in LISTS},
    },
    "required": [*TEXTS, *LISTS],
    "additionalProperties": False,
}
"""What a model is asked to write; the free fields are people's."""


def shown_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """What of a state is worth a model's window: fields that say something."""
    return {name: value for name, value in state.items() if value not in (None, "", [], {})}


def read_captured(text: str, previous: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in a model's answer, over the free fields of the previous one; None where it is none, or says nothing.

    A fence or a sentence round the JSON is forgiven; long lists and lines are cut, wrong types are not forgiven.
    """
    found = _json_object(text)
    if found is None or not any(found.get(name) for name in (*TEXTS, *LISTS)):
        return None
    fields = {name: _shortened(found[name]) for name in (*TEXTS, *LISTS) if name in found}
    free = {name: value for name, value in previous.items() if name not in (*TEXTS, *LISTS)}
    try:
        return SessionState.model_validate({**free, **fields}).data()
    except ValidationError:
        return None


def _json_object(text: str) -> dict[str, Any] | None:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()[:CAPTURED_CHARACTERS]
    if isinstance(value, list):
        return [
            item.strip()[:CAPTURED_CHARACTERS] if isinstance(item, str) else item for item in value[:CAPTURED_ITEMS]
        ]
    return value


# Every repetition is bounded: these run over text that somebody else wrote.
_PATH = re.compile(r"(?<![\w/.:])(?:[\w.@~-]{1,80}/){1,12}[\w.@-]{1,80}\.\w{1,8}\b|\b[\w-]{1,80}\.[a-z]{1,4}\b(?!\()")
_FOUND = re.compile(
    r"\b(?:found|turned out|root cause|because|decid|chose|agreed|the fix|fixed|works now)", re.IGNORECASE
)
_BLOCKED = re.compile(
    r"\b(?:blocked|cannot|can't|fails?\b|failing|error\b|exception|missing|denied|stuck)", re.IGNORECASE
)
_NEXT = re.compile(r"\b(?:next\b|todo|to do\b|then we|need to|needs to|should\b|let's|we will|remains)", re.IGNORECASE)
_EXTRACTED = 5
_READ_CHARACTERS: Final = 8_000
"""Of a message: a pasted log of some megabytes would hold the event loop for seconds."""


def extract_state(messages: Sequence[StoredMessage], previous: Mapping[str, Any]) -> dict[str, Any]:
    """The state in the messages' own sentences: what stands in for a model where none answers. Deterministic."""
    texts = [(message.message.get("role"), message.text[:_READ_CHARACTERS]) for message in messages]
    asked = [text for role, text in texts if role == "user" and text.strip()]
    newest_first = [sentence for _, text in reversed(texts) for sentence in reversed(sentences_of(text))]
    found: dict[str, Any] = {
        "goal": previous.get("goal") or _first_sentence(asked[:1]),
        "current_task": _first_sentence(asked[-1:]),
        "open_files": _distinct(
            path for _, text in reversed(texts) for path in _PATH.findall(text) if len(path) <= CAPTURED_CHARACTERS
        ),
        "findings": _matching(newest_first, _FOUND),
        "blockers": _matching(newest_first, _BLOCKED),
        "next_steps": _matching(newest_first, _NEXT),
    }
    free = {name: value for name, value in previous.items() if name not in (*TEXTS, *LISTS)}
    return _small_enough(free, {name: value for name, value in found.items() if value})


def _small_enough(free: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Both, with the last entries of the longest lists left out where it is more than a state may be."""
    while found and len(json.dumps({**free, **found}, ensure_ascii=False)) > STATE_CHARACTERS:
        longest = max(found, key=lambda name: len(json.dumps(found[name], ensure_ascii=False)))
        kept = found[longest][:-1] if isinstance(found[longest], list) else None
        found = {name: value for name, value in {**found, longest: kept}.items() if value}
    return {**free, **found}


def _first_sentence(texts: Sequence[str]) -> str | None:
    sentences = sentences_of(texts[0]) if texts else []
    return sentences[0][:CAPTURED_CHARACTERS] if sentences else None


def _matching(sentences: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    return _distinct(s[:CAPTURED_CHARACTERS] for s in sentences if pattern.search(s))[:_EXTRACTED]


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))[:CAPTURED_ITEMS]
