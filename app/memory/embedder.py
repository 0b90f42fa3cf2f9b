"""Embedder: texts -> vectors by all-MiniLM-L6-v2, always on this machine and never on the event loop.

onnxruntime runs the graph of `app.memory.minilm` over the files of `app.memory.model_files`. Both it and the tokenizer
are imported at the first use: 0.25 s and 70 MB more that start-up does not pay. Two threads work side by side: one for
what a person waits for, one for everything else, which is done in small batches so that the most urgent goes first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from enum import IntEnum
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from app.memory import minilm
from app.memory.lanes import Lane
from app.memory.model_files import MINILM, EmbedderUnavailable, ModelPackage, missing, verify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Pieces = Mapping[str, NDArray[np.int64]]

DIMENSIONS: Final = 384
MAX_PIECES: Final = 256
"""Word pieces of a text that the model reads; what comes after is not in the vector."""
MAX_CHARACTERS: Final = 4_096
"""Longer texts are cut before they are tokenised: 256 pieces of ordinary text are about 1,000 characters."""
BATCH_BYTES: Final = 2_048
"""A batch's longest text times its number of texts: about 500 pieces or 60 ms of one core, the longest a batch that is
under way keeps a more urgent one waiting. Larger batches are no faster per text on a CPU."""
LEAST_AGREEMENT: Final = 0.99
"""Cosine of the int8 graph's vector to the exact one's, on `_PROBE`, below which it is not used: 0.999 is what it is,
and a processor on which it is not computes something else."""
MOST_TIME: Final = 1.2
"""Of the exact graph's, up to which int8 is used. It takes 0.6 with AVX-512 VNNI; a little over 1 would be chance, more
a processor without such instructions."""
PROBES: Final = 7
"""Runs of each graph, in turn: about 50 ms in all, once, before the first question."""
QUERIES_KEPT: Final = 64
"""Questions whose vectors are kept (100 KB): one request may ask for the same one twice, for its session and for the
code it bears on, and what was explained is asked next."""
LET_BEGIN_SECONDS: Final = 0.001
"""How long the event loop stands aside at most for a question to begin: 0.1 ms where a processor is idle."""
_CLOSING = "the sidecar is shutting down"
_PROBE = b"The budget of the workspace is spent; the router falls back."

log = logging.getLogger(__name__)


class Urgency(IntEnum):
    """Who waits. Queries have a thread to themselves."""

    QUERY = 0
    MESSAGE = 1
    """A few texts whose caller waits for them to be searchable."""
    INDEX = 2
    """Bulk work in the background."""


def default_threads() -> int:
    """Half of the processors this process may use, one to four: the event loop and a local model need the others."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return max(1, min(4, usable // 2))


class Embedder:
    """Texts to unit vectors. May be used from several tasks and event loops at once.

    The files in `folder` are looked for when they are first needed: a fetch while the sidecar runs is noticed.
    `threads` is how many threads compute one batch.
    """

    def __init__(self, folder: Path, *, threads: int | None = None, package: ModelPackage = MINILM) -> None:
        self.folder = folder
        self._threads = threads or default_threads()
        self._package = package
        self._queries = Lane("embed-query")
        self._bulk = Lane("embed-bulk")
        self._loading = threading.Lock()
        self._model: _Model | None = None
        self._failure: tuple[object, str] | None = None
        self._closed = False
        self._known: dict[bytes, Vectors] = {}

    @property
    def available(self) -> bool:
        """False where a text cannot be embedded, as far as is known without loading the model."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """Why there is no model, as a sentence for `/health`, or None. Costs three `stat` calls at most."""
        if self._closed:
            return _CLOSING
        if self._model is not None:
            return None
        if absent := missing(self.folder, self._package):
            return f"{self._package.name}: {', '.join(absent)} not in {self.folder}; run `llm-sidecar models fetch`"
        failure = self._failure
        return failure[1] if failure is not None and failure[0] == self._state() else None

    async def load(self) -> None:
        """Load the model now (0.3 s, on a thread) rather than with the first text. Raises `EmbedderUnavailable`."""
        await asyncio.wrap_future(self._submit(self._queries, Urgency.QUERY, ()))

    async def embed(self, texts: Sequence[str], urgency: Urgency = Urgency.QUERY) -> Vectors:
        """One row per text, in order: float32 (len(texts), 384), each of unit length.

        A text beyond `MAX_PIECES` word pieces is embedded by its beginning. Raises `EmbedderUnavailable`. Cancelling
        drops the batches that have not begun. Give bulk work in portions of some hundreds: handing over a text costs
        the event loop about 10 µs.
        """
        lane = self._queries if urgency is Urgency.QUERY else self._bulk
        cut = [_readable(text) for text in texts]
        batches = _batches([len(raw) for raw in cut])
        futures = [self._submit(lane, urgency, [cut[i] for i in batch]) for batch in batches or [()]]
        try:
            parts = await asyncio.gather(*map(asyncio.wrap_future, futures))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        import numpy as np  # loaded by now

        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        for batch, part in zip(batches, parts, strict=False):
            vectors[list(batch)] = part
        return vectors

    async def question(self, text: str) -> Vectors:
        """The unit vector, float32 (384,), by which stored ones are searched, in half the time of `embed`.

        Its cosines to other texts are 0.002 off on average (250 questions). It is never stored, nor given away as the
        text's own. Raises `EmbedderUnavailable`.
        """
        return (await asyncio.wrap_future(self._asked(_readable(text)))).copy()

    def _asked(self, query: bytes) -> Future[Vectors]:
        """One query's vector, kept for the next time."""

        if (known := self._known.get(query)) is not None and not self._closed:
            done: Future[Vectors] = Future()
            done.set_result(known)
            return done
        # Read here, in 20 µs: the lane's thread then needs the interpreter once, and not again after the tokenizer.
        pieces = None if self._model is None else self._model.pieces([query])

        def work() -> Vectors:
            if (known := self._known.get(query)) is None:
                known = self._known[query] = self._loaded().question(query, pieces)
                if len(self._known) > QUERIES_KEPT:
                    del self._known[next(iter(self._known))]
            return known

        return self._do(self._queries, Urgency.QUERY, work, 0.0 if pieces is None else LET_BEGIN_SECONDS)

    async def aclose(self) -> None:
        """Give up what waits; batches under way end by themselves. What waits raises `EmbedderUnavailable`."""
        self._closed = True
        for lane in (self._queries, self._bulk):
            lane.close(EmbedderUnavailable(_CLOSING))

    def _submit(self, lane: Lane, urgency: Urgency, texts: Sequence[bytes]) -> Future[Vectors]:
        return self._do(lane, urgency, lambda: self._loaded().run(texts))

    def _do(self, lane: Lane, urgency: Urgency, work: Callable[[], Vectors], let_begin: float = 0.0) -> Future[Vectors]:
        try:
            return lane.submit(work, urgency, let_begin)
        except RuntimeError as error:
            raise EmbedderUnavailable(_CLOSING) from error

    def _loaded(self) -> _Model:
        """On a lane's thread. A failure is remembered until the files change."""
        with self._loading:
            if self._model is None:
                if problem := self.problem:
                    raise EmbedderUnavailable(problem)
                state = self._state()
                try:
                    verify(self.folder, self._package)
                    self._model = _Model(self.folder, self._threads)
                except EmbedderUnavailable as error:
                    self._failure = state, error.detail
                    raise
                except Exception as error:  # a wheel for another processor, a library missing: whatever it is, no model
                    detail = f"{self._package.name} cannot be loaded: {type(error).__name__}: {error}"[:400]
                    self._failure = state, detail
                    raise EmbedderUnavailable(detail) from error
            return self._model

    def _state(self) -> object:
        """Changes when a file does."""
        try:
            status = [(self.folder / name).stat() for name in self._package.files]
        except OSError:
            return None
        return [(s.st_size, s.st_mtime_ns) for s in status]


def _readable(text: str) -> bytes:
    """The part of a text that is read, as UTF-8; lone surrogates, which are no text, become question marks."""
    return text[:MAX_CHARACTERS].encode("utf-8", "replace")


def _batches(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Indexes in groups of like size (bytes), so that little is padding; each group at most `BATCH_BYTES` padded."""
    batches: list[tuple[int, ...]] = []
    group: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: (sizes[i], i)):
        if group and sizes[index] * (len(group) + 1) > BATCH_BYTES:
            batches.append(tuple(group))
            group = []
        group.append(index)
    if group:
        batches.append(tuple(group))
    return batches


class _Model:
    """The loaded model. `run` may be called from several threads at once, `question` from one at a time."""

    def __init__(self, folder: Path, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        from tokenizers import Tokenizer

        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else one thread per processor for a few texts
        self._tokenizer = Tokenizer.from_file(str(folder / minilm.TOKENIZER))
        self._tokenizer.enable_truncation(MAX_PIECES)
        self._tokenizer.no_padding()
        self._folder = folder
        self._threads = threads
        self._clock = clock
        self._exact = self._session(minilm.build(folder))
        self._quick: Any = None

    def _session(self, graph: bytes) -> Any:
        # Its builds tell their maker of every start, on Linux too: at the import, through an HTTP client of their own
        # that no hook of ours sees, with an id they keep in the cache folder. The call below comes too late for that.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime as ort  # type: ignore[import-untyped]

        ort.disable_telemetry_events()  # of Windows' own builds, which do not know the variable
        options = _session_options(ort, self._folder, self._threads)
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        session._model_bytes = b""  # it would keep the graph, 11 MB, to try again with other providers
        return session

    def question(self, text: bytes, pieces: Pieces | None = None) -> Vectors:
        """One vector (dimensions,) to search by; `pieces`: the text's, where they are known. The first one makes the
        int8 graph: 0.3 s and 13 MB, which a process that only stores does not pay."""
        if self._quick is None:
            self._quick = self._quicker()
        vector: Vectors = self._vectors(self._quick, pieces or self.pieces([text]))[0]
        return vector

    def _quicker(self) -> Any:
        """The int8 session; the exact one where the operators are missing here, compute otherwise or are no quicker."""
        try:
            quick = self._session(minilm.build(self._folder, int8=True))
            rounds = [(self._tried(quick), self._tried(self._exact)) for _ in range(PROBES)]
        except Exception as error:  # whatever a build of onnxruntime lacks: questions are slower then, and no worse
            log.info("questions are embedded in full precision: %s", type(error).__name__)
            return self._exact
        (vector, _), (exact, _) = rounds[0]
        # The median of pairs: on busy processors a single run may take ten times as long, and the quickest be luck.
        share = median(took / max(exactly, 1e-9) for (_, took), (_, exactly) in rounds)
        agreement = float(vector @ exact)
        if agreement >= LEAST_AGREEMENT and share < MOST_TIME:  # NaN is not
            return quick
        log.info("questions stay exact: int8 has cosine %.3f and takes %.1f times as long", agreement, share)
        return self._exact

    def _tried(self, session: Any) -> tuple[Vectors, float]:
        """The probe's vector, and the seconds it took."""
        began = self._clock()
        vector: Vectors = self._run(session, [_PROBE])[0]
        return vector, self._clock() - began

    def run(self, texts: Sequence[bytes]) -> Vectors:
        """One batch: float32 (len(texts), dimensions). Nothing is computed for none."""
        return self._run(self._exact, texts)

    def _run(self, session: Any, texts: Sequence[bytes]) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, DIMENSIONS), np.float32)
        return self._vectors(session, self.pieces(texts))

    def pieces(self, texts: Sequence[bytes]) -> Pieces:
        """What the graph reads: the texts' word pieces, each (texts, longest) with zeros after a shorter one's end."""
        import numpy as np

        encoded = [e.ids for e in self._tokenizer.encode_batch_fast([text.decode() for text in texts])]
        shape = len(encoded), max(map(len, encoded))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, pieces in enumerate(encoded):
            ids[row, : len(pieces)] = pieces
            mask[row, : len(pieces)] = 1
        return dict(zip(minilm.INPUTS, (ids, mask), strict=True))

    def _vectors(self, session: Any, pieces: Pieces) -> Vectors:
        outputs: list[Vectors] = session.run([minilm.OUTPUT], pieces)
        return outputs[0]


def _session_options(ort: Any, folder: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # nothing but fatal errors: what goes wrong is raised as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning threads burn idle processors
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return options
