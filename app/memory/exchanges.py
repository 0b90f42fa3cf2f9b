"""An exchange of another session: what somebody asked before, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """`text` is `user: …` and `assistant: …`, one after the other. `similarity` is the cosine of the message that was
    found to the query, None where either has no vector. `private`: the session never leaves the machine."""

    session_id: str
    seq: int
    """Of the question, from 0."""
    text: str
    similarity: float | None
    private: bool
