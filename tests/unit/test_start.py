"""What is imported before the port is open, and what at rest: memory and time that nobody has asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.fakes.sidecar import write_config

HEAVY = ("sqlalchemy", "fastapi", "litellm", "lancedb", "numpy", "app.config.schema", "app.llm.events", "app.services")
NOT_AT_REST = (
    *("lancedb", "pyarrow", "numpy", "onnxruntime", "plotly", "feedparser", "desktop_notifier", "alembic", "keyring"),
    *("tree_sitter", "tree_sitter_python", "huggingface_hub", "requests", "rich", "pygments", "pathspec"),
    *("litellm.main", "litellm.router", "litellm.proxy.proxy_server", "openai.resources", "openai.types.beta"),
)
"""Each is imported by what first needs it."""
AT_REST = """
import asyncio, gc, json, sys
from pathlib import Path
from app.api.application import create_app
from app.process import no_collections
from app.services import open_services
from app.settings import Settings

async def main():
    folder = Path(sys.argv[1])
    settings = Settings(config_dir=folder / "config", data_dir=folder / "data")
    with no_collections():
        async with open_services(settings, token="t" * 32, freeze=True) as services:
            create_app(services)
            opened = gc.isenabled()
            await services.ready()
            found = {"modules": sorted(sys.modules), "problem": services.translator.problem}
            found |= {"collecting": [opened, gc.isenabled()], "frozen": gc.get_freeze_count()}
    print(json.dumps(found))

asyncio.run(main())
"""


def test_the_door_is_up_before_most_of_the_program_is_imported() -> None:
    code = f"import sys, app.main; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_at_rest_only_what_the_first_chat_needs_is_there(tmp_path: Path) -> None:
    model = {"id": "ollama/m", "api_base": "http://127.0.0.1:9", "context_window": 8192}
    write_config(tmp_path / "config", models=[model], rules=[{"name": "all", "conditions": {}, "model": "ollama/m"}])
    command = [sys.executable, "-c", AT_REST, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    found = json.loads(done.stdout)
    assert found["problem"] is None
    assert [name for name in NOT_AT_REST if name in found["modules"]] == []
    # Nothing is collected while everything is made; then all of it is out of the collector's sight.
    assert found["collecting"] == [False, True]
    assert found["frozen"] > 100_000
