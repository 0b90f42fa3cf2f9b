"""`llm-sidecar index`: processes of their own against a real sidecar."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.command_line import cli
from tests.fakes.sidecar import running_sidecar

BUILTIN = "builtin/extractive"
RULES = [{"name": "all", "conditions": {}, "model": BUILTIN}]


async def test_a_folder_is_indexed_searched_listed_and_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "zebra.py").write_text("def cross_the_road():\n    return 'zebra'\n")
    (folder / ".env").write_text("KEY=1\n")
    async with running_sidecar(tmp_path, models=[{"id": BUILTIN}], rules=RULES) as sidecar:
        status, out, err = await cli(sidecar, "index", str(folder))
        assert (status, err) == (0, "")
        assert out.startswith("1 file indexed (1 chunk), 0 unchanged, 0 removed in ")
        assert "left out: 1 keys and .env files" in out
        status, out, _ = await cli(sidecar, "search", "zebra", "-k", "1")
        assert out.startswith("zebra.py:1-2  cross_the_road\n")
        done = json.loads((await cli(sidecar, "index", "add", str(folder), "--watch", "--json"))[1])
        assert (done["state"], done["watch"], done["progress"]["files_unchanged"]) == ("done", True, 1)
        status, out, _ = await cli(sidecar, "index", "list")
        assert out.splitlines()[1].split()[:4] == ["open", str(folder), "1", "yes"]
        assert (await cli(sidecar, "index", "stop", str(folder)))[0] == 0
        assert json.loads((await cli(sidecar, "index", "list", "--json"))[1])["folders"][0]["watch"] is False
        status, out, err = await cli(sidecar, "index", "drop", str(folder))
        assert (status, out, err) == (0, "", f"forgotten: {folder}\n")
        assert (await cli(sidecar, "index", "list"))[1] == "(none)\n"


async def test_what_makes_no_sense_says_so(tmp_path: Path) -> None:
    async with running_sidecar(tmp_path, models=[{"id": BUILTIN}], rules=RULES) as sidecar:
        status, _, err = await cli(sidecar, "index", str(tmp_path / "nothing"))
        assert (status, "no such folder" in err) == (1, True)
        status, _, err = await cli(sidecar, "index", "drop", str(tmp_path))
        assert (status, "index_not_found" in err) == (1, True)
        assert (await cli(sidecar, "index", "drop"))[0] == 2
        assert (await cli(sidecar, "index", str(tmp_path), "-w", "nobody"))[0] == 1
