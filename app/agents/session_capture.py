"""session_capture: sessions that nobody has used for a while get their state written, so that work can go on there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from app.agents.base import Agent, AgentContext, AgentResult
from app.chat.capture import SessionCapture
from app.chat.conversation import Conversation
from app.chat.records import Session, StateRecord
from app.chat.sessions import Sessions
from app.config.loader import Config
from app.errors import CaptureFailed, NotFound
from app.store.tables import to_text

IDLE_MINUTES: Final = 30
MOST: Final = 20
"""Sessions in one run; the others come next time."""
_WAITING = """
    SELECT s.id, s.title, count(m.seq) AS messages, max(m.seq) AS last
    FROM sessions s JOIN session_messages m ON m.session_id = s.id
    LEFT JOIN session_state t ON t.session_id = s.id
    WHERE s.updated_at < :before
        AND (t.updated_at IS NULL OR (t.captured_by IS NOT NULL AND t.updated_at < s.updated_at))
    GROUP BY s.id ORDER BY s.updated_at DESC LIMIT :most
"""
"""A state that somebody put by hand is theirs, and left alone."""


class SessionCaptureAgent(Agent):
    """Through the agent's own door to the models, so that policy, budget and ledger know the run."""

    name = "session_capture"
    description = "Writes the state of sessions that have been idle for a while: goal, task, open ends."
    settings_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "idle_minutes": {"type": "number", "minimum": 1, "maximum": 100_000},
            "most": {"type": "integer", "minimum": 1, "maximum": 500},
        },
        "additionalProperties": False,
    }
    rerun_is_safe = True

    def __init__(self, sessions: Sessions, config: Callable[[], Config]) -> None:
        self._sessions = sessions
        self._config = config

    async def run(self, context: AgentContext) -> AgentResult:
        idle = timedelta(minutes=float(context.settings.get("idle_minutes", IDLE_MINUTES)))
        most = int(context.settings.get("most", MOST))
        before = to_text(context.now() - idle)
        waiting = await context.data.query(_WAITING, {"before": before, "most": most})
        stored: list[str] = []
        failed: list[str] = []
        capture = SessionCapture(_Target(self._sessions, context), context.llm_router, self._config, context.now)
        for number, session in enumerate(waiting):
            title = session["title"] or session["id"]
            context.progress(f"capturing {title}", number, len(waiting))
            try:
                record = await capture.capture(session["id"])
            except NotFound:
                continue  # deleted meanwhile
            except CaptureFailed as error:
                failed.append(session["id"])
                context.log.warning(f"{title}: {error.detail}")
                continue
            stored.append(f"session_state:{session['id']}")
            context.log.info(f"{title}: written by {record.captured_by}")
        return AgentResult(_summary(waiting, failed), {"captured": len(stored), "failed": failed}, stored)


class _Target:
    """Sessions to read, and states that are stored through the context."""

    def __init__(self, sessions: Sessions, context: AgentContext) -> None:
        self._sessions = sessions
        self._context = context

    async def load(self, session_id: str) -> Conversation:
        return await self._sessions.load(session_id)

    async def put_state(self, session_id: str, record: StateRecord, of: Session | None = None) -> None:
        await self._context.storing(
            f"the state of session {session_id}", lambda: self._sessions.put_state(session_id, record, of)
        )


def _summary(waiting: Sequence[Mapping[str, Any]], failed: Sequence[str]) -> str:
    if not waiting:
        return "No session was waiting for its state."
    titles = [f"- {s['title'] or s['id']} ({s['messages']} messages)" for s in waiting if s["id"] not in failed]
    text = f"The state of {len(titles)} session{'' if len(titles) == 1 else 's'} was written:\n\n" + "\n".join(titles)
    return text + (f"\n\n{len(failed)} could not be captured; the log says why." if failed else "")
