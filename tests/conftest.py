from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

from tests.helpers.firestore_emulator import UNTESTED

# Hypothesis fails what once takes longer than 200 ms; on a busy machine that says nothing. All else stays as it was.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skip is one letter among hundreds; that a whole store was not tested is said at the end, in words."""
    skipped: list[Any] = [each for each in terminalreporter.getreports("skipped") if UNTESTED in str(each.longrepr)]
    if skipped:
        reason = str(skipped[0].longrepr[2]).removeprefix("Skipped: ")
        terminalreporter.write_sep("=", f"{UNTESTED}: {len(skipped)} tests skipped", red=True, bold=True)
        terminalreporter.write_line(reason, red=True)
