"""What every run says at its end: whether the dashboard was looked at in a browser."""

from __future__ import annotations

import pytest

from tests.browser.chromium import MISSING, find_chromium


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if find_chromium() is None:
        terminalreporter.write_line(f"The dashboard's tests were skipped: {MISSING}.", yellow=True)
