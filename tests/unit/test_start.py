"""What is imported before the port is open."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("sqlalchemy", "fastapi", "litellm", "lancedb", "numpy", "app.config.schema", "app.llm.events", "app.services")


def test_the_door_is_up_before_most_of_the_program_is_imported() -> None:
    code = f"import sys, app.main; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
