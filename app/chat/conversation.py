"""A session in memory: its messages, and the index that says which of them bear on a query; and a bounded cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.chat.records import Session, StateRecord, StoredMessage, SummaryRecord
from app.chat.rows import LoadedRows
from app.memory.embedder import DIMENSIONS
from app.memory.recall import Recall, Remembered, passages
from app.routing.code import contains_code

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

CACHED_SESSIONS = 64
CACHED_BYTES = 64_000_000
VECTOR_BYTES = 4 * DIMENSIONS
ROW_BYTES = 1_000
"""What a message takes beside its words and vectors, about."""


class Conversation:
    """One session as it is stored. Changed only by `app.chat.sessions.Sessions`, on the event loop.

    `recall` may lag behind `messages`: the newest are indexed in the background, and are sent anyway.
    """

    def __init__(self, loaded: LoadedRows) -> None:
        self.session: Session = loaded.session
        self.messages: list[StoredMessage] = list(loaded.messages)
        self.state: StateRecord | None = loaded.state
        self.summary: SummaryRecord | None = loaded.summary
        self.has_code = False
        """Whether any message of it looks like code; found once per message, not once per request."""
        self.unembedded = [seq for seq, vectors in enumerate(loaded.vectors) if not _whole(vectors)]
        """Loaded without vectors: the index knows them by their words alone."""
        self.weight = 0
        self._recall = Recall()
        self._lock = threading.Lock()
        for stored, vectors in zip(loaded.messages, loaded.vectors, strict=True):
            self._look(stored)
            self._index(stored, vectors if vectors is not None and _whole(vectors) else b"")

    @property
    def indexed(self) -> int:
        """How many messages, from the oldest, the index knows."""
        return len(self._recall)

    def append(self, messages: Sequence[StoredMessage]) -> None:
        for stored in messages:
            self._look(stored)
        self.messages += messages

    def index(self, vectors: Mapping[int, bytes], upto: int) -> None:
        """Tell the index the messages before `upto` that it does not know, with what vectors there are, by `seq`."""
        for stored in self.messages[self.indexed : upto]:
            self._index(stored, vectors.get(stored.seq, b""))

    def scores(self, query: str, vector: Vectors | None) -> list[float]:
        """How much each of the oldest `indexed` messages bears on the query. May run in a thread."""
        with self._lock:
            return self._recall.scores(query, vector)

    def _index(self, stored: StoredMessage, vectors: bytes) -> None:
        with self._lock:
            self._recall.add(remembered(stored), vectors)
        self.weight += len(vectors)

    def _look(self, stored: StoredMessage) -> None:
        text = stored.text
        self.weight += ROW_BYTES + 2 * len(text)
        self.has_code = self.has_code or contains_code(text)


def _whole(vectors: bytes | None) -> bool:
    return vectors is not None and len(vectors) % VECTOR_BYTES == 0


def remembered(stored: StoredMessage) -> Remembered:
    """The message as recall sees it."""
    name: Any = stored.message.get("name")
    return Remembered(stored.text, stored.created_at, name if isinstance(name, str) else None)


def passages_of(messages: Sequence[StoredMessage]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(seq, texts to embed) of each message that has words."""
    for stored in messages:
        if stored.text.strip():
            yield stored.seq, passages(remembered(stored))


class ConversationCache:
    """The sessions used last, bounded in number and in bytes (`weight`, about)."""

    def __init__(self, sessions: int = CACHED_SESSIONS, size: int = CACHED_BYTES) -> None:
        self._sessions = sessions
        self._size = size
        self._held: OrderedDict[str, Conversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, session_id: str) -> Conversation | None:
        found = self._held.get(session_id)
        if found is not None:
            self._held.move_to_end(session_id)
        return found

    def put(self, session_id: str, conversation: Conversation) -> None:
        """Keep it, and let the longest unused go; the newest always stays."""
        self._held[session_id] = conversation
        self._held.move_to_end(session_id)
        while len(self._held) > 1 and (len(self._held) > self._sessions or self._total() > self._size):
            self._held.popitem(last=False)

    def drop(self, session_id: str) -> None:
        self._held.pop(session_id, None)

    def _total(self) -> int:
        return sum(conversation.weight for conversation in self._held.values())
