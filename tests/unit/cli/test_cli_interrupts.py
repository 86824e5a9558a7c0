"""Ctrl-C at the worst moment there is: while this very thread writes to stderr, and so holds its buffer."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from xgw.cli.contacts import stoppable
from xgw.cli.phase import _stoppable
from xgw.cli.streams import write_err

TALKING = SimpleNamespace(quiet=False)
Ways = Callable[[], AbstractContextManager[Callable[[], bool]]]
WAYS: dict[str, tuple[Ways, str]] = {
    "contacts": (lambda: stoppable(TALKING, "finishing", "xgw again"), "to go on: xgw again"),  # type: ignore[arg-type]
    "phase": (lambda: _stoppable(TALKING), "another line"),  # type: ignore[arg-type]
}


class Interrupting(io.RawIOBase):
    """A file whose every write is met by Ctrl-C before it has returned, until it is told to be `quiet`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.quiet = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        count = os.write(self._fd, data)
        if not self.quiet:
            signal.raise_signal(signal.SIGINT)
        return count


@contextmanager
def interrupting(patch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """stderr is such a file; what came out of it."""
    reader, writer = os.pipe()
    file = Interrupting(writer)
    stream = io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", line_buffering=True)
    with patch.context() as patched:
        patched.setattr("sys.stderr", stream)
        yield lambda: os.read(reader, 65536).decode()
    file.quiet = True
    stream.close()  # the line that was interrupted is still in its buffer
    for end in (reader, writer):
        os.close(end)


@pytest.mark.parametrize("command", WAYS)
def test_an_interrupt_in_the_middle_of_a_line_is_taken_as_any_other(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, told = WAYS[command]
    with interrupting(monkeypatch) as said:
        with pytest.raises(KeyboardInterrupt), way() as stopping:  # noqa: PT012
            write_err("a line\n")
            assert stopping()
            assert "Ctrl-C again stops at once" in said()
            write_err("another line\n")
        assert told in said()
