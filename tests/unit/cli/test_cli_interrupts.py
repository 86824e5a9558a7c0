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

from xgw.cli.aim import NOWHERE
from xgw.cli.stopping import Stop, stoppable
from xgw.cli.streams import write_err

TALKING = SimpleNamespace(quiet=False, aim=NOWHERE)


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


def way(**options: Any) -> AbstractContextManager[Stop]:
    return stoppable(TALKING, "finishing", "xgw again", **options)  # type: ignore[arg-type]


def test_an_interrupt_in_the_middle_of_a_line_is_taken_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with interrupting(monkeypatch) as said:
        with pytest.raises(KeyboardInterrupt), way() as stop:  # noqa: PT012
            write_err("a line\n")
            assert stop()
            assert "finishing; Ctrl-C again stops at once" in said()
            write_err("another line\n")
        assert "to go on: xgw again" in said()


def test_when_the_work_is_over_nobody_has_asked_to_stop_and_the_first_signal_is_only_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with interrupting(monkeypatch) as said, way() as stop:
        write_err("a line\n")
        assert said()
        stop.over("the result follows")
        assert not stop()
        write_err("another line\n")
        assert "the result follows; Ctrl-C again stops at once" in said()


def test_a_signal_that_is_not_taken_is_left_to_whoever_had_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with way(signals=(signal.SIGINT,)):
        assert signal.getsignal(signal.SIGTERM) is before
    with way():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
