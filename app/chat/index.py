"""Makes the messages of sessions searchable, by meaning where there is an embedding model and by words always."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from app.chat import rows
from app.chat.conversation import Conversation, passages_of
from app.chat.records import Session, StoredMessage
from app.chat.turns import Line
from app.errors import NotFound
from app.memory.embedder import Embedder, Urgency
from app.memory.model_files import EmbedderUnavailable
from app.store.database import Database

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

log = logging.getLogger(__name__)

EMBEDDED_AT_ONCE = 128
"""Messages embedded between two writes: what a crash can cost is a few seconds' work."""
INLINE_SCORES = 400
"""Messages scored on the event loop (about 3 ms); more are scored in a thread."""
QUERY_SECONDS = 2.0
"""How long a request waits for its query's embedding; the first one loads the model (0.3 s)."""


class MessageIndex:
    """`load` returns a session's conversation, `forget` drops it from memory, so that it is read again."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder | None,
        load: Callable[[str], Awaitable[Conversation]],
        forget: Callable[[str], None],
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._load = load
        self._forget = forget
        self._updates = Line()
        self._scoring = ThreadPoolExecutor(max_workers=1, thread_name_prefix="session-recall")

    async def update(self, session_id: str) -> bool:
        """Embed what is not embedded yet and tell the index; True where that was by meaning too.

        Not one of the session's changes but in a line of its own: embedding takes seconds, and answers go on.
        Raises `NotFound`.
        """
        return await self._updates.run(session_id, lambda: self._update(session_id))

    def update_soon(self, session_id: str) -> None:
        """`update`, in the background."""

        async def work() -> None:
            with suppress(NotFound):  # deleted meanwhile
                await self.update(session_id)

        self._updates.start(work())

    async def _update(self, name: str) -> bool:
        held = await self._load(name)
        by_words_alone = set(held.unembedded)
        todo = [m for m in held.messages if m.seq >= held.indexed or m.seq in by_words_alone]
        vectors, all_embedded = await self._embed(held.session, todo)
        if by_words_alone and all_embedded:
            self._forget(name)  # the index is built again, with the vectors
        elif todo:
            held.index(vectors, upto=todo[-1].seq + 1)
        return all_embedded

    async def _embed(self, of: Session, messages: Sequence[StoredMessage]) -> tuple[dict[int, bytes], bool]:
        """Embed and store; the vectors by `seq`, and whether every message has its own now."""
        vectors: dict[int, bytes] = {}
        if self._embedder is None or not self._embedder.available:
            return vectors, False
        try:
            for at in range(0, len(messages), EMBEDDED_AT_ONCE):
                some = await _vectors_of(self._embedder, messages[at : at + EMBEDDED_AT_ONCE])
                await self._database.write(
                    partial(rows.put_vectors, session_id=of.id, vectors=some, of=of),
                    durable=False,  # they can be computed again
                )
                vectors |= some
        except EmbedderUnavailable as error:
            log.warning("messages are searchable by their words alone: %s", error.detail)
            return vectors, False
        return vectors, True

    async def scores(self, conversation: Conversation, query: str) -> list[float | None]:
        """How much each message bears on the query; None for the newest, where they are not indexed yet."""
        vector = await self._query_vector(query)
        if len(conversation.messages) <= INLINE_SCORES:
            known = conversation.scores(query, vector)
        else:
            loop = asyncio.get_running_loop()
            known = await loop.run_in_executor(self._scoring, conversation.scores, query, vector)
        return [*known, *[None] * (len(conversation.messages) - len(known))]

    async def _query_vector(self, query: str) -> Vectors | None:
        if self._embedder is None or not self._embedder.available:
            return None
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                vector: Vectors = await self._embedder.question(query)
        except (EmbedderUnavailable, TimeoutError) as error:
            log.info("a query goes by its words alone: %s", type(error).__name__)
            return None
        return vector

    async def aclose(self) -> None:
        """Give up what is under way: what is not embedded now is found, and embedded, when it is needed next."""
        await self._updates.aclose(cancel=True)
        self._scoring.shutdown(wait=False)


async def _vectors_of(embedder: Embedder, messages: Sequence[StoredMessage]) -> dict[int, bytes]:
    """By `seq`: the vectors of each message's passages one after the other; none for a message without words."""
    split = dict(passages_of(messages))
    texts = [text for parts in split.values() for text in parts]
    vectors = {message.seq: b"" for message in messages}
    if texts:
        found, at = await embedder.embed(texts, Urgency.MESSAGE), 0
        for seq, parts in split.items():
            vectors[seq] = found[at : at + len(parts)].tobytes()
            at += len(parts)
    return vectors
