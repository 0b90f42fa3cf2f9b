"""Sessions: stored conversations, ready to be gone on with and to be searched.

Every change of one session waits for the one before it, runs in a task of its own (a caller that leaves loses the
answer, not the change) and is on disk before the copy in memory follows.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from app.chat import rows
from app.chat.conversation import Conversation, ConversationCache
from app.chat.index import MessageIndex
from app.chat.records import (
    Appended,
    MessagePage,
    NewMessage,
    Session,
    SessionPage,
    StateRecord,
    StoredMessage,
    SummaryRecord,
    check_id,
    title_of,
)
from app.chat.turns import Line
from app.config.loader import Config
from app.errors import InvalidRequest
from app.memory.embedder import Embedder
from app.store.database import Database
from app.store.tables import to_text
from app.usage.queries import Cursor, decode_cursor, encode_cursor

MOST_PER_PAGE = 1_000
MOST_AT_ONCE = 5_000
"""Messages in one `create` or `append`; more come in several."""
FOLLOWED_AT_ONCE = 50
"""The copy in memory follows so many new messages on the event loop (about 3 ms); with more it is read again."""


class Sessions:
    """Creates, lists, reads, extends and deletes sessions.

    `config` returns the configuration that is current; `now` the time (UTC). Without an embedder messages are searched
    by their words alone.
    """

    def __init__(
        self,
        database: Database,
        config: Callable[[], Config],
        now: Callable[[], datetime],
        embedder: Embedder | None = None,
        cache: ConversationCache | None = None,
    ) -> None:
        self._database = database
        self._config = config
        self._now = now
        self._cache = cache or ConversationCache()
        self._changes = Line()
        self.on_delete: list[Callable[[str, str], Awaitable[object]]] = []
        """Called with the workspace and the id of a session that was deleted, for what was made from it."""
        self._index = MessageIndex(database, embedder, self.load, self._cache.drop)

    # -- sessions

    async def create(
        self,
        *,
        session_id: str | None = None,
        workspace: str | None = None,
        title: str | None = None,
        messages: Sequence[NewMessage] = (),
    ) -> Session:
        """A new session, with its first messages searchable. `session_id` None: an id is made; `workspace` None: the
        default one. All of it is stored or nothing.

        Raises `Conflict` (`session_exists`), `UnknownWorkspace`, `InvalidRequest`, `StoreUnavailable`.
        """
        name = check_id(session_id) if session_id is not None else uuid.uuid4().hex
        profile = self._config().known_profile(workspace or None)
        _check_amount(messages)
        now = self._now()
        session = Session(name, profile.id, profile.block_cloud_apis, title, now, now, len(messages))

        async def add() -> None:
            await self._database.write(lambda connection: rows.add_session(connection, session, messages))
            if not messages:  # it is asked something next, and is known without being read
                self._cache.put(name, Conversation(rows.LoadedRows(session, (), (), None, None)))

        await self._changes.run(name, add)
        if messages:
            await self._index.update(name)
        return replace(session, title=title or title_of(list(messages)))

    async def get(self, session_id: str) -> tuple[Session, SummaryRecord | None, StateRecord | None]:
        """The session, its summary, its state. Raises `NotFound` (`session_not_found`)."""
        name = check_id(session_id)
        return await self._database.read(
            lambda c: (rows.get_session(c, name), rows.get_summary(c, name), rows.get_state(c, name))
        )

    async def page(self, *, workspace: str | None = None, limit: int = 50, cursor: str | None = None) -> SessionPage:
        """The latest used first, of one workspace or of all. Raises `UnknownWorkspace`, `InvalidRequest`."""
        if workspace is not None:
            self._config().known_profile(workspace)
        size = _page_size(limit)
        before = decode_cursor(cursor) if cursor else None
        key = (before.created_at, before.id) if before else None
        found = await self._database.read(lambda c: rows.list_sessions(c, workspace, size + 1, key))
        if len(found) <= size:
            return SessionPage(tuple(found), None)
        last = found[size - 1]
        return SessionPage(tuple(found[:size]), encode_cursor(Cursor(to_text(last.updated_at), last.id)))

    async def delete(self, session_id: str) -> None:
        """The session and all that belongs to it; rows of the ledger stay. Raises `NotFound`."""
        name = check_id(session_id)

        async def remove() -> None:
            workspace = await self._database.write(lambda connection: rows.remove(connection, name))
            self._cache.drop(name)
            for forget in self.on_delete:
                await forget(workspace, name)

        await self._changes.run(name, remove)

    # -- messages

    async def append(self, session_id: str, messages: Sequence[NewMessage]) -> Appended:
        """Store messages; returns once they are searchable. All are stored or none.

        Raises `NotFound`, `InvalidRequest`, `StoreUnavailable`.
        """
        first = await self.remember(session_id, messages)
        by_meaning = await self._index.update(session_id)
        return Appended(first, len(messages), "meaning and words" if by_meaning else "words")

    async def remember(self, session_id: str, messages: Sequence[NewMessage], of: Session | None = None) -> int:
        """Store messages; returns the `seq` of the first once they are on disk. `index_soon` makes them searchable.

        `of`, here and below: the session they belong to, as it was read. Where it was deleted since, another one under
        its name gets nothing of it: `NotFound`. A session used while its workspace is private is private from then on.
        Raises like `append`.
        """
        name = check_id(session_id)
        _check_amount(messages)
        return await self._changes.run(name, lambda: self._remember(name, messages, of))

    async def _remember(self, name: str, messages: Sequence[NewMessage], of: Session | None) -> int:
        now = self._now()
        private = await self._is_private_now(name)
        first = await self._database.write(lambda c: rows.add_messages(c, name, messages, now, private=private, of=of))
        held = self._cache.get(name)
        if held is None:
            return first
        if len(held.messages) != first or len(messages) > FOLLOWED_AT_ONCE:
            self._cache.drop(name)
            return first
        held.append(
            [
                StoredMessage(first + place, new.message, new.created_at or now, new.partial, new.request_id)
                for place, new in enumerate(messages)
            ]
        )
        held.session = replace(
            held.session,
            updated_at=now,
            private=held.session.private or private,
            title=held.session.title or title_of(list(messages)),
            message_count=len(held.messages),
        )
        return first

    async def _is_private_now(self, name: str) -> bool:
        held = self._cache.get(name)
        session = held.session if held else await self._database.read(lambda c: rows.get_session(c, name))
        return self._config().is_private(session.workspace)

    async def read(
        self, session_id: str, *, after: int = -1, before: int | None = None, limit: int = 100
    ) -> MessagePage:
        """Messages in order: those after `after`, or the last ones before `before`. Raises `NotFound`."""
        name, size = check_id(session_id), _page_size(limit)
        extra = 0 if before is not None else 1
        found = await self._database.read(
            lambda c: rows.read_messages(c, name, after=after, before=before, limit=size + extra)
        )
        more = before is None and len(found) > size
        return MessagePage(tuple(found[:size]), found[size - 1].seq if more else None)

    # -- state and summary

    async def state(self, session_id: str) -> StateRecord | None:
        """None where none was put yet. Raises `NotFound`."""
        name = check_id(session_id)
        return await self._database.read(lambda connection: rows.get_state(connection, name))

    async def put_state(self, session_id: str, record: StateRecord, of: Session | None = None) -> None:
        """Replace the state; what is said of a session while its workspace is private makes it private, too. Raises
        `NotFound`, `StoreUnavailable`."""
        name = check_id(session_id)

        async def put() -> None:
            private = await self._is_private_now(name)
            await self._database.write(lambda c: rows.put_state(c, name, record, private=private, of=of))
            if (held := self._cache.get(name)) is not None:
                held.state = record
                held.session = replace(held.session, private=held.session.private or private)

        await self._changes.run(name, put)

    async def put_summary(self, session_id: str, record: SummaryRecord, of: Session | None = None) -> None:
        """Use a further summary from now on. Raises `NotFound`, `StoreUnavailable`."""
        name = check_id(session_id)

        async def put() -> None:
            await self._database.write(lambda connection: rows.put_summary(connection, name, record, of))
            if (held := self._cache.get(name)) is not None:
                held.summary = record

        await self._changes.run(name, put)

    # -- going on with a session

    async def load(self, session_id: str) -> Conversation:
        """The whole session, kept in memory while it is in use. Raises `NotFound`."""
        name = check_id(session_id)
        held = self._cache.get(name)
        return held if held is not None else await self._changes.run(name, lambda: self._load(name))

    async def _load(self, name: str) -> Conversation:
        held = self._cache.get(name)
        if held is None:
            held = await self._database.read(lambda connection: Conversation(rows.load(connection, name)))
            self._cache.put(name, held)
        return held

    async def keep_private(self, conversation: Conversation) -> None:
        """Note, before anything more is said, that the session is used while its workspace is private."""
        name = conversation.session.id

        async def mark() -> None:
            await self._database.write(lambda connection: rows.make_private(connection, name))
            for held in (conversation, self._cache.get(name)):
                if held is not None:
                    held.session = replace(held.session, private=True)

        if not conversation.session.private:
            await self._changes.run(name, mark)

    async def scores(self, conversation: Conversation, query: str) -> list[float | None]:
        """How much each message bears on the query; None for the newest, where they are not indexed yet."""
        return await self._index.scores(conversation, query)

    def index_soon(self, session_id: str) -> None:
        """Make what is new in the session searchable, in the background."""
        self._index.update_soon(session_id)

    async def aclose(self) -> None:
        """End what runs in the background, letting changes that were begun reach the disk."""
        await self._index.aclose()
        await self._changes.aclose(cancel=False)


def _check_amount(messages: Sequence[NewMessage]) -> None:
    if len(messages) > MOST_AT_ONCE:
        raise InvalidRequest(
            f"at most {MOST_AT_ONCE} messages at once; send more in several requests", field="messages"
        )


def _page_size(limit: int) -> int:
    if not 1 <= limit <= MOST_PER_PAGE:
        raise InvalidRequest(f"limit must be a whole number from 1 to {MOST_PER_PAGE}", field="limit")
    return limit
