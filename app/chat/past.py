"""What was said in other sessions of a workspace that bears on a query: by meaning and by words, straight from SQLite.

Nothing is kept in memory between two queries: a session that is deleted is not found, a new one is, and a workspace is
in the statement. The newest `SCANNED` messages are looked at; what scores best is ranked as a session ranks its own
(`app.memory.recall`) and told as an exchange, the question with its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row, select, text, tuple_

from app.memory.embedder import DIMENSIONS, Embedder
from app.memory.exchanges import Exchange
from app.memory.model_files import EmbedderUnavailable
from app.memory.recall import Recall, Remembered, ranking
from app.memory.searchable import query_terms
from app.store.database import Database
from app.store.tables import from_text, session_messages, sessions

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

SCANNED: Final = 4_000
"""Newest messages of other sessions that are looked at: their vectors and words, some 20 MB, take about 30 ms."""
NEAREST: Final = 40
"""Candidates by meaning, and again by words."""
QUERY_TERMS: Final = 10
LEAST_COSINE: Final = 0.35
"""Less is no paraphrase (`retrieval.similarity_line` has the same default); words must then agree."""
LEAST_SHARE: Final = 0.6
"""Of the query's words that a message must hold where its meaning is not near."""
MESSAGE_CHARACTERS: Final = 600
"""Of a question, and of an answer."""
_READ_CHARACTERS: Final = 4_000
_VECTOR_BYTES: Final = 4 * DIMENSIONS

_NEWEST = """
    SELECT m.session_id, m.seq FROM sessions AS s
    JOIN session_messages AS m ON m.session_id = s.id
    WHERE s.workspace = :workspace AND s.id != :beside AND m.role IN ('user', 'assistant') AND m.content IS NOT NULL
    ORDER BY s.updated_at DESC, s.id DESC, m.seq DESC LIMIT :scanned
"""
_M, _S = session_messages.c, sessions.c
_Key = tuple[str, int]


class PastSessions:
    """Searches what was said. Without an embedder by words alone."""

    def __init__(self, database: Database, embedder: Embedder | None) -> None:
        self._database = database
        self._embedder = embedder

    async def search(self, workspace: str, query: str, limit: int, beside: str | None = None) -> list[Exchange]:
        """At most `limit` exchanges of other sessions than `beside`, best first. Raises `StoreUnavailable`."""
        words = query_terms(query, QUERY_TERMS)
        vector = await self._vector(query)
        if not words and vector is None:
            return []
        asked = _Asked(workspace, beside or "", query, tuple(words), vector)
        return await self._database.read(lambda connection: _search(connection, asked, limit))

    async def _vector(self, query: str) -> Vectors | None:
        if self._embedder is None or not self._embedder.available:
            return None
        try:
            found: Vectors = await self._embedder.question(query)
        except EmbedderUnavailable:
            return None
        return found


@dataclass(frozen=True, slots=True)
class _Asked:
    workspace: str
    beside: str
    query: str
    words: tuple[str, ...]
    vector: Vectors | None


def _search(connection: Connection, asked: _Asked, limit: int) -> list[Exchange]:
    """In a reader's thread."""
    cosines = _nearest(connection, asked)
    shares = _sharing(connection, asked)
    keys = list(dict.fromkeys([*sorted(cosines, key=lambda k: (-cosines[k], k))[:NEAREST], *shares]))
    if not keys:
        return []
    rows = _read(connection, asked, keys)
    recall = Recall()
    for row in rows:
        vectors = row.embedding if row.embedding and len(row.embedding) % _VECTOR_BYTES == 0 else b""
        recall.add(Remembered(row.content[:_READ_CHARACTERS], from_text(row.created_at)), vectors)
    best: dict[_Key, Exchange] = {}
    for place in ranking(recall.scores(asked.query, asked.vector)):
        row = rows[place]
        key = row.session_id, row.seq
        cosine = cosines.get(key)
        if (cosine is None or cosine < LEAST_COSINE) and shares.get(key, 0.0) < LEAST_SHARE:
            continue
        question = row.seq if row.role == "user" else row.seq - 1
        if (row.session_id, question) not in best:
            best[row.session_id, question] = _exchange(connection, row, question, cosine)
        if len(best) >= limit:
            break
    return list(best.values())


def _nearest(connection: Connection, asked: _Asked) -> dict[_Key, float]:
    """The cosine of each message's best passage."""
    if asked.vector is None:
        return {}
    import numpy as np  # here: who has a vector to ask with has loaded it

    statement = text(
        f"SELECT session_id, seq, embedding FROM session_messages JOIN ({_NEWEST}) USING (session_id, seq) "
        "WHERE embedding IS NOT NULL"
    )
    owners: list[_Key] = []
    pieces: list[bytes] = []
    for session_id, seq, data in connection.execute(statement, _given(asked)).tuples():
        if data and len(data) % _VECTOR_BYTES == 0:
            owners += [(session_id, seq)] * (len(data) // _VECTOR_BYTES)
            pieces.append(data)
    if not owners:
        return {}
    values = np.frombuffer(b"".join(pieces), np.float32).reshape(len(owners), -1) @ asked.vector
    cosines: dict[_Key, float] = {}
    for owner, cosine in zip(owners, values.tolist(), strict=True):
        cosines[owner] = max(cosine, cosines.get(owner, -1.0))
    return cosines


def _sharing(connection: Connection, asked: _Asked) -> dict[_Key, float]:
    """The messages that hold most of the query's words, and which share of them. Long words count more in the order."""
    if not asked.words:
        return {}
    held = [f"(instr(words, :t{at}) > 0)" for at in range(len(asked.words))]
    weighed = [f"{case} * {min(len(word), 12)}" for case, word in zip(held, asked.words, strict=True)]
    statement = text(
        f"SELECT session_id, seq, {' + '.join(held)} AS held FROM "
        f"(SELECT session_id, seq, lower(substr(content, 1, {_READ_CHARACTERS})) AS words "
        f"FROM session_messages JOIN ({_NEWEST}) USING (session_id, seq)) "
        f"WHERE held > 0 ORDER BY {' + '.join(weighed)} DESC, session_id, seq LIMIT {NEAREST}"
    )
    terms: dict[str, Any] = {f"t{at}": word for at, word in enumerate(asked.words)}
    rows = connection.execute(statement, {**_given(asked), **terms}).tuples()
    return {(session_id, seq): held / len(asked.words) for session_id, seq, held in rows}


def _given(asked: _Asked) -> dict[str, Any]:
    return {"workspace": asked.workspace, "beside": asked.beside, "scanned": SCANNED}


def _read(connection: Connection, asked: _Asked, keys: Sequence[_Key]) -> Sequence[Row[Any]]:
    """The candidates in the order they were said, so that neighbours are neighbours."""
    query = (
        select(_M.session_id, _M.seq, _M.role, _M.content, _M.embedding, _M.created_at, _S.private)
        .join(sessions, _S.id == _M.session_id)
        .where(_S.workspace == asked.workspace, tuple_(_M.session_id, _M.seq).in_(keys))
        .order_by(_M.session_id, _M.seq)
    )
    return connection.execute(query).all()


def _exchange(connection: Connection, found: Row[Any], question: int, cosine: float | None) -> Exchange:
    """The question with the answer that came after it."""
    query = select(_M.role, _M.content).where(
        _M.session_id == found.session_id, _M.seq.between(max(question, 0), question + 1), _M.content.is_not(None)
    )
    said = "\n".join(
        f"{role}: {_cut(content)}"
        for role, content in connection.execute(query.order_by(_M.seq)).tuples()
        if role in ("user", "assistant")
    )
    return Exchange(found.session_id, max(question, 0), said, cosine, bool(found.private))


def _cut(content: str) -> str:
    return content if len(content) <= MESSAGE_CHARACTERS else f"{content[: MESSAGE_CHARACTERS - 1].rstrip()}…"
