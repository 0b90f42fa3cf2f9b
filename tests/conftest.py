"""What every run says at its end: whether the dashboard was looked at in a browser."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.browser.chromium import MISSING, find_chromium

# Time is measured in bench/, beside a floor; a machine that is busy with others is no falsified property.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if find_chromium() is None:
        terminalreporter.write_line(f"The dashboard's tests were skipped: {MISSING}.", yellow=True)
