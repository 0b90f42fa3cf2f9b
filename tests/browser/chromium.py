"""Where a Chromium is, and how it is started so that it speaks to nobody but the pages under test."""

from __future__ import annotations

import os
import shutil

REQUIRED = "REQUIRE_CHROMIUM"
"""Set, the browser's tests fail where they would be skipped."""
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
MISSING = "no Chromium on this machine (Debian: apt install chromium)"


def find_chromium() -> str | None:
    """The executable: `CHROMIUM` where that is set, else the first of `NAMES` on the path."""
    wanted = os.environ.get("CHROMIUM")
    return wanted or next((found for name in NAMES if (found := shutil.which(name))), None)


def must_run() -> bool:
    return bool(os.environ.get(REQUIRED))
