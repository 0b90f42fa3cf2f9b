"""Embedding: the graph against the same in numpy, the lanes, and life without the files."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from app.memory import minilm, model_files
from app.memory.embedder import (
    BATCH_BYTES,
    DIMENSIONS,
    MAX_PIECES,
    PROBES,
    QUERIES_KEPT,
    Embedder,
    Urgency,
    _batches,
    _Model,
)
from app.memory.lanes import Lane
from app.memory.model_files import EmbedderUnavailable, ModelPackage, missing
from tests.fakes import tiny_minilm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


@pytest.fixture
def package(folder: Path) -> ModelPackage:
    return tiny_minilm.write(folder)


@pytest.fixture
async def embedder(folder: Path, package: ModelPackage) -> AsyncIterator[Embedder]:
    embedder = Embedder(folder, threads=1, package=package)
    yield embedder
    await embedder.aclose()


class TestVectors:
    async def test_they_are_those_of_the_same_model_in_numpy(self, embedder: Embedder) -> None:
        """Texts of different lengths in one batch: what pads the shorter ones must not be seen."""
        texts = {
            "the router": ["the", "router"],
            "The routers falls back .": ["the", "router", "##s", "falls", "back", "."],
            "": [],
            "budget is a budget is spent zebra": ["budget", "is", "a", "budget", "is", "spent", "[UNK]"],
        }
        vectors = await embedder.embed(list(texts))
        assert vectors.dtype == np.float32
        for vector, pieces in zip(vectors, texts.values(), strict=True):
            np.testing.assert_allclose(vector, tiny_minilm.reference(pieces), atol=2e-6)

    async def test_many_texts_keep_their_order_and_unit_length(self, embedder: Embedder) -> None:
        texts = [" ".join(["budget", "router", "the"][i % 3 :] * (1 + i * 7 % 40)) for i in range(120)]
        assert len(_batches([len(text) for text in texts])) > 3
        vectors = await embedder.embed(texts, Urgency.INDEX)
        alone = [(await embedder.embed([text], Urgency.MESSAGE))[0] for text in texts[::13]]
        np.testing.assert_allclose(vectors[::13], alone, atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)

    async def test_no_text_no_row(self, embedder: Embedder) -> None:
        assert (await embedder.embed([])).shape == (0, DIMENSIONS)

    async def test_a_text_beyond_the_limit_is_its_beginning(self, embedder: Embedder) -> None:
        kept = ["a"] * (MAX_PIECES - 2)
        short, long = await embedder.embed([" ".join(kept), " ".join(kept) + " budget spent" * 50_000])
        np.testing.assert_allclose(short, long, atol=2e-6)

    @pytest.mark.parametrize("text", ["\ud800", "\x00", "a" * 10_000_000, "\n" * 5_000, "界" * 5_000])
    async def test_any_text_has_a_vector(self, embedder: Embedder, text: str) -> None:
        assert np.isfinite(await embedder.embed([text])).all()

    async def test_a_question_asked_again_is_not_computed_again(self, embedder: Embedder) -> None:
        first, twice = await asyncio.gather(embedder.question("why?"), embedder.question("why?"))
        assert (first == twice).all()
        first[:] = 0  # whoever changes what it was given changes nobody else's
        assert (await embedder.question("why?") == twice).all()
        assert len(embedder._known) == 1
        for number in range(QUERIES_KEPT + 5):
            await embedder.question(f"question {number}")
        assert len(embedder._known) == QUERIES_KEPT

    def test_batches_are_bounded_and_hold_every_text_once(self) -> None:
        sizes = [5_000, 0, 3, 700, 700, 700, 1, 0, 2_048, 90] * 20
        batches = _batches(sizes)
        assert sorted(i for batch in batches for i in batch) == list(range(len(sizes)))
        assert all(len(b) == 1 or len(b) * max(sizes[i] for i in b) <= BATCH_BYTES for b in batches)


@pytest.mark.skipif(sys.platform != "linux", reason="where onnxruntime keeps its device's id")
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "as it comes"])
def test_onnxruntime_makes_no_id_of_this_machine(
    tmp_path: Path, folder: Path, package: ModelPackage, ours: bool
) -> None:
    """It does at its import, together with a first report to its maker (see `tests.drills.test_egress_embedder`)."""
    embed = f"from app.memory.embedder import _Model; from pathlib import Path; _Model(Path({str(folder)!r}), 1)"
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    # Nothing else: where CI, or the like, is set it keeps quiet by itself.
    needed = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    program = [sys.executable, "-c", embed if ours else "import onnxruntime"]
    subprocess.run(program, cwd=ROOT, env={**needed, **home}, check=True, timeout=60)
    left = [path for root in home.values() for path in Path(root).rglob("*") if path.is_file()]
    assert bool(left) != ours


class TestQuestions:
    """Their vectors come from the int8 graph; all others from the exact one."""

    @staticmethod
    def clock(int8: float, exact: float) -> Callable[[], float]:
        """Says that a run of the one graph took `int8`, of the other `exact` seconds."""
        moments = (moment for _ in range(PROBES) for took in (int8, exact) for moment in (0.0, took))
        return lambda: next(moments)

    def model(self, folder: Path) -> _Model:
        """Of matrices so small the int8 graph is no quicker."""
        return _Model(folder, 1, self.clock(1, 2))

    TEXTS = (b"the router", b"The routers falls back .", b"", b"budget is a budget is spent zebra", b"a " * 250)

    def test_they_point_where_the_exact_ones_do(self, folder: Path, package: ModelPackage) -> None:
        model = self.model(folder)
        exact = model.run(self.TEXTS)
        asked = np.array([model.question(text) for text in self.TEXTS])
        assert model._quick is not model._exact
        assert asked.dtype == np.float32
        assert (asked[0] != exact[0]).any()
        np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-6)
        assert ((asked * exact).sum(axis=1) > 0.999).all()

    async def test_what_is_stored_or_given_away_is_exact(self, embedder: Embedder, folder: Path) -> None:
        embedder._model = self.model(folder)
        asked = await embedder.question("the router")
        assert asked.shape == tiny_minilm.reference(["the"]).shape
        for urgency in Urgency:
            (kept,) = await embedder.embed(["the router"], urgency)
            np.testing.assert_allclose(kept, tiny_minilm.reference(["the", "router"]), atol=2e-6)
            assert (kept != asked).any()

    @pytest.mark.parametrize("text", ["\ud800", "\x00", "", "a" * 10_000_000, "\n" * 5_000])
    async def test_any_text_has_a_vector(self, embedder: Embedder, folder: Path, text: str) -> None:
        embedder._model = self.model(folder)
        assert np.isfinite(await embedder.question(text)).all()

    def test_without_the_operators_they_are_exact(
        self, folder: Path, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(minilm, "_CONTRIBUTED", "no.such.domain")  # as a build of onnxruntime without them
        model = self.model(folder)
        assert (model.question(b"the router") == model.run([b"the router"])[0]).all()
        assert model._quick is model._exact

    def test_a_processor_that_computes_otherwise_is_noticed(
        self, folder: Path, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(minilm, "_ZERO", 100)  # weights that are all off by as much
        model = self.model(folder)
        assert (model.question(b"the router") == model.run([b"the router"])[0]).all()
        assert model._quick is model._exact

    def test_where_they_would_be_slower_they_are_exact(self, folder: Path, package: ModelPackage) -> None:
        model = _Model(folder, 1, self.clock(2, 1))
        assert (model.question(b"the router") == model.run([b"the router"])[0]).all()
        assert model._quick is model._exact

    async def test_the_second_graph_is_made_for_the_first_question_and_once(self, embedder: Embedder) -> None:
        await embedder.load()
        await asyncio.gather(*(embedder.embed(["the router"], urgency) for urgency in Urgency))
        model = embedder._model
        assert model is not None
        sessions = [model._quick]  # None: whoever only stores does not pay for it
        await asyncio.gather(*(embedder.question(f"budget {number}") for number in range(5)))
        sessions.append(model._quick)
        await embedder.question("budget is spent")
        assert [session is model._quick for session in sessions] == [False, True]

    def test_no_session_keeps_its_graph(self, folder: Path, package: ModelPackage) -> None:
        """onnxruntime's Python class would, for ever; this fails when it keeps it by another name."""
        model = self.model(folder)
        model.question(b"budget")
        for session in (model._exact, model._quick):
            assert vars(session)["_model_bytes"] == b""
            assert not [name for name, value in vars(session).items() if isinstance(value, bytes) and value]

    def test_a_row_of_zeros_stays_one(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        zeroed = tiny_minilm.weights()
        zeroed["encoder.layer.0.intermediate.dense.weight"][3] = 0
        monkeypatch.setattr(tiny_minilm, "weights", lambda seed=7: zeroed)
        tiny_minilm.write(folder)
        model = self.model(folder)
        assert model.question(b"the router") @ model.run([b"the router"])[0] > 0.999
        assert model._quick is not model._exact


class TestRealModel:
    async def test_cosines_are_those_that_its_authors_show(self) -> None:
        """The example of sentence similarity in Hugging Face's inference documentation, which names this model."""
        folder = model_files.default_folder()
        if missing(folder):
            pytest.skip("the model's files are not here: run `llm-sidecar models fetch`")
        embedder = Embedder(folder)
        happy, *others = await embedder.embed(
            [
                "That is a happy person",
                "That is a happy dog",
                "That is a very happy person",
                "Today is a sunny day",
            ]
        )
        await embedder.aclose()
        assert happy.shape == (DIMENSIONS,)
        np.testing.assert_allclose(np.array(others) @ happy, [0.6945773, 0.9429151, 0.2568761], atol=1e-5)

    async def test_a_question_in_int8_points_where_the_exact_one_does(self) -> None:
        folder = model_files.default_folder()
        if missing(folder):
            pytest.skip("the model's files are not here: run `llm-sidecar models fetch`")
        model = _Model(folder, 1, TestQuestions.clock(1, 2))
        texts = [
            b"why?",
            b"which error is raised when no model is permitted?",
            b"where is a retry decided, and who pays for the attempts that came to nothing? " * 4,
            "Wie lange wird ein Vektor aufbewahrt? ☃".encode(),
            b"def reserve(self, amount: Decimal) -> Reservation: ...",
        ]
        exact = model.run(texts)
        asked = np.array([model.question(text) for text in texts])
        assert model._quick is not model._exact
        np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-6)
        cosines = (asked * exact).sum(axis=1)
        assert cosines[0] > 0.99  # of one word: fewer pieces over which rounding evens out
        assert (cosines[1:] > 0.998).all()


class TestWithoutModel:
    async def test_missing_files_are_a_clear_error_and_a_later_fetch_is_noticed(
        self, tmp_path: Path, folder: Path, package: ModelPackage
    ) -> None:
        embedder = Embedder(tmp_path / "elsewhere", package=package)
        assert "model.safetensors" in str(embedder.problem)
        with pytest.raises(EmbedderUnavailable, match="models fetch"):
            await embedder.embed(["the"])
        shutil.copytree(folder, tmp_path / "elsewhere")
        assert embedder.available
        assert len(await embedder.embed(["the"])) == 1
        await embedder.aclose()

    async def test_a_damaged_file_is_named_and_its_repair_noticed(self, embedder: Embedder, folder: Path) -> None:
        good = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(good[:-1] + b"\0")
        assert embedder.available  # as far as is known without reading 90 MB
        with pytest.raises(EmbedderUnavailable, match=r"model\.safetensors is damaged"):
            await embedder.load()
        assert "damaged" in str(embedder.problem)
        (folder / "model.safetensors").write_bytes(good)
        os.utime(folder / "model.safetensors", ns=(1, 1))
        await embedder.load()
        assert embedder.problem is None

    async def test_a_file_that_is_right_but_no_model_is_an_error_not_a_crash(self, folder: Path) -> None:
        tiny_minilm.write(folder)
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        package = ModelPackage("odd", "", "", {"tokenizer.json": model_files._sha256(folder / "tokenizer.json")})
        embedder = Embedder(folder, package=package)
        with pytest.raises(EmbedderUnavailable, match="cannot be loaded"):
            await embedder.load()
        await embedder.aclose()

    async def test_after_the_end_it_says_so(self, embedder: Embedder) -> None:
        await embedder.aclose()
        assert not embedder.available
        with pytest.raises(EmbedderUnavailable, match="shutting down"):
            await embedder.embed(["the"])

    def test_importing_it_costs_no_library(self) -> None:
        heavy = "{'numpy', 'onnxruntime', 'tokenizers', 'platformdirs'}"
        code = f"import sys, app.memory.embedder, app.memory.recall; assert not {heavy} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


class TestLanes:
    def _blocked(self) -> tuple[Lane, threading.Event]:
        """A lane whose thread is busy until the event is set."""
        lane, started, release = Lane("test"), threading.Event(), threading.Event()

        def work() -> None:
            started.set()
            release.wait(10)

        lane.submit(work)
        assert started.wait(10)
        return lane, release

    def test_the_most_urgent_goes_first_then_the_oldest(self) -> None:
        lane, release = self._blocked()
        done: list[str] = []
        waiting = [("bulk 1", 2), ("bulk 2", 2), ("message", 1), ("query", 0), ("message 2", 1)]
        futures = [lane.submit(lambda name=name: done.append(name), urgency) for name, urgency in waiting]  # type: ignore[misc]
        release.set()
        for future in futures:
            future.result(10)
        assert done == ["query", "message", "message 2", "bulk 1", "bulk 2"]
        lane.close(RuntimeError())

    def test_a_caller_who_stands_aside_goes_on_when_the_job_has_begun(self) -> None:
        lane, began = Lane("test"), threading.Event()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(30)  # no thread gives the interpreter away by itself
        try:
            future = lane.submit(began.set, let_begin=30)
            assert began.is_set()
        finally:
            sys.setswitchinterval(interval)
        future.result(10)
        lane.close(RuntimeError())

    def test_nobody_stands_aside_for_a_job_that_waits_for_another(self) -> None:
        lane, release = self._blocked()
        future = lane.submit(lambda: None, let_begin=1_000)
        assert not future.done()
        release.set()
        future.result(10)
        lane.close(RuntimeError())

    def test_a_cancelled_job_never_runs_and_one_that_fails_harms_no_other(self) -> None:
        lane, release = self._blocked()
        ran: list[int] = []
        dropped = lane.submit(lambda: ran.append(1))
        assert dropped.cancel()
        failing = lane.submit(lambda: 1 // 0)
        after = lane.submit(lambda: ran.append(2))
        release.set()
        after.result(10)
        assert ran == [2]
        assert isinstance(failing.exception(10), ZeroDivisionError)
        lane.close(RuntimeError())

    def test_closing_fails_what_waits_and_refuses_more(self) -> None:
        lane, release = self._blocked()
        waiting, cancelled = lane.submit(lambda: 1), lane.submit(lambda: 1)
        cancelled.cancel()
        lane.close(EmbedderUnavailable("closed"))
        assert isinstance(waiting.exception(10), EmbedderUnavailable)
        with pytest.raises(RuntimeError):
            lane.submit(lambda: 1)
        release.set()

    async def test_a_query_does_not_wait_for_bulk_work(self, embedder: Embedder) -> None:
        await embedder.load()
        bulk = asyncio.create_task(embedder.embed(["the router falls back . " * 40] * 400, Urgency.INDEX))
        await asyncio.sleep(0)
        await embedder.question("budget")
        assert not bulk.done()
        bulk.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bulk
        assert len(await embedder.embed(["the"], Urgency.INDEX)) == 1  # the cancelled batches are out of the way
