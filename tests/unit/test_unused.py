"""A sidecar that does everything, without what the image and the frozen build leave out of its packages."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from freeze.unused import found, remove

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
EVERYTHING = """
import asyncio, importlib.machinery, json, pathlib, pkgutil, sys, tempfile

from freeze.unused import found

site_packages = pathlib.Path(sys.argv[1])
unused = tuple(found(site_packages))


class Without:
    # Nothing can be imported from what is left out, as if it were not there.

    def find_spec(self, name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.origin and any(pathlib.Path(spec.origin).is_relative_to(part) for part in unused):
            raise ModuleNotFoundError(f"no module {name}", name=name)
        return None


sys.meta_path.insert(0, Without())

import app
from tests.fakes.laboratory import WIRES, laboratory

for module in pkgutil.walk_packages(app.__path__, "app."):
    if not module.name.startswith(("app.__main__", "app.store.migrations")):
        importlib.import_module(module.name)


async def use() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with laboratory(pathlib.Path(folder)) as lab:
            for model in WIRES:
                assert (await lab.chat(query="hello", model=model))[-1].name == "done"
            chunk = {"path": "a.py", "start_line": 1, "text": "def backoff_seconds(): return 5"}
            stored = await lab.http.post("/api/v1/chunks", json={"chunks": [chunk]})
            assert stored.status_code == 200, stored.text
            found = await lab.http.post("/api/v1/search", json={"query": "backoff"})
            assert len(found.json()["chunks"]) == 1, found.text


asyncio.run(use())
maps = pathlib.Path("/proc/self/maps")
lines = maps.read_text().splitlines() if maps.exists() else []
mapped = {line.split(maxsplit=5)[5] for line in lines if "/" in line}
imported = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
print(json.dumps(sorted(mapped | {name for name in imported if name})))
"""


def test_everything_works_without_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING, str(SITE_PACKAGES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = {Path(name) for name in json.loads(done.stdout.splitlines()[-1])}
    unused = list(found(SITE_PACKAGES))
    assert any(path.is_relative_to(SITE_PACKAGES / "lancedb") for path in loaded)
    assert unused
    assert not [path for path in loaded for part in unused if path.is_relative_to(part)]


def test_it_is_taken_out_and_nothing_else(tmp_path: Path) -> None:
    kept = ("pyarrow/lib.so", "numpy/core.py", "plotly/package_data/plotly.min.js", "litellm/proxy/_types.py")
    gone = ("pyarrow/libarrow_flight.so.1", "numpy/a/tests/b.py", "plotly/graph_objs/x.py", "hf_xet/y.so", "boto3/z.py")
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    assert remove(tmp_path) == 4 * len(gone)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)
    assert remove(tmp_path) == 0
