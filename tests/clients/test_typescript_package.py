"""The TypeScript client as a package: its types, its own tests, and what `npm pack` would ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import npm

pytestmark = pytest.mark.timeout(180)


def test_its_types_are_those_of_openapi_json(built: Path) -> None:
    done = npm.run(built, npm.find("npm"), "run", "--silent", "check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_tests(built: Path) -> None:
    done = npm.run(built, npm.find("npm"), "test", "--silent", "--ignore-scripts")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_holds_what_it_must(built: Path) -> None:
    """Nothing is needed to run it, and no lock file names a registry."""
    done = npm.run(built, npm.find("npm"), "pack", "--dry-run", "--json", "--ignore-scripts")
    assert done.returncode == 0, done.stderr
    for name in ("dist/index.js", "dist/index.d.ts", "README.md", "LICENSE", "package.json"):
        assert f'"path": "{name}"' in done.stdout, name
    assert "node_modules" not in done.stdout
    assert '"dependencies"' not in (built / "package.json").read_text()
    assert '"resolved"' not in (npm.CLIENT / "package-lock.json").read_text()
