"""Ctrl-C, and SIGTERM as Cloud Run sends it: the first one asks to stop where that does no harm, the second ends at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xgw.cli.options import Invocation, talk_at_once
from xgw.report import safe


class Stop:
    """Whether somebody asked to stop. `words` say what is finished first; `again`, how to go on after the second signal."""

    def __init__(self, invocation: Invocation, words: str, again: str) -> None:
        self._invocation, self._words, self._again = invocation, words, again
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def over(self, words: str) -> None:
        """Everything is done and recorded: there is nothing left to stop, and whoever asked for it got it. From now on
        the first signal is answered with `words`, and what the command has to say is still said."""
        self._words, self._asked = words, False

    def on_signal(self, *_: object) -> None:
        """What the signals do."""
        if self._asked:
            if self._again:
                talk_at_once(self._invocation, f"\nto go on: {safe(self._again)}")
            raise KeyboardInterrupt
        self._asked = True
        talk_at_once(self._invocation, f"\n{safe(self._words)}; Ctrl-C again stops at once")


@contextmanager
def stoppable(
    invocation: Invocation,
    words: str,
    again: str = "",
    *,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> Iterator[Stop]:
    """Takes the signals as long as it lasts. It has to last until the result was shown: a signal that comes after the work
    would else turn a finished command into an interrupted one."""
    stop = Stop(invocation, words, again)
    before = {number: signal.signal(number, stop.on_signal) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
