"""entity_extraction: what is new in the workspace's sessions and indexed texts becomes entities of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from app.agents.base import Agent, AgentContext, AgentResult
from app.chat.learning import Learned, Learning
from app.memory.extraction import TASK_TYPE
from app.store.tables import to_text
from app.usage.records import Parent

MOST: Final = 20
"""Texts in one run; the others come next time."""
_START = datetime(1970, 1, 1, tzinfo=UTC)


class EntityExtractionAgent(Agent):
    """Reads on this machine, whatever the workspace allows (`app.memory.extraction`). The oldest comes first."""

    name = "entity_extraction"
    description = "Finds what new messages and indexed texts name, for the graph of entities. Never leaves the machine."
    settings_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "most": {"type": "integer", "minimum": 1, "maximum": 1_000},
            "use_model": {"type": "boolean"},
        },
        "additionalProperties": False,
    }
    rerun_is_safe = True

    def __init__(self, learning: Learning) -> None:
        self._learning = learning

    async def run(self, context: AgentContext) -> AgentResult:
        since = _moment(context.state.get("until"))
        most = int(context.settings.get("most", MOST))
        use_model = bool(context.settings.get("use_model", True))
        context.progress("reading what is new")

        async def learn() -> Learned:
            return await self._learning.extract_new(
                context.workspace,
                since,
                limit=most,
                use_model=use_model,
                parent=Parent(context.run_id, context.agent, TASK_TYPE),
            )

        learned = await context.storing(f"the entities of what is new since {to_text(since)}", learn)
        if learned is None:
            return AgentResult("Not read: a dry run.")
        # A file whose time lies ahead must not hide what is written until then.
        # To the microsecond: files are told apart by it.
        context.state["until"] = min(learned.until, context.now()).isoformat()
        for warning in learned.warnings:
            context.log.warning(warning)
        if not learned.texts:
            return AgentResult("Nothing new to read.", {"texts": 0, "entities": 0, "more": False})
        more = " There is more, which comes next time." if learned.more else ""
        texts = f"{learned.texts} text{'' if learned.texts == 1 else 's'}"
        said = f"{texts} read, {learned.entities} mentions of entities kept.{more}"
        return AgentResult(said, {"texts": learned.texts, "entities": learned.entities, "more": learned.more})


def _moment(text: object) -> datetime:
    try:
        return datetime.fromisoformat(str(text)) if text else _START
    except ValueError:
        return _START
