"""Several calls at once, in threads that never hold up the end of the process: a second Ctrl-C ends a run now, not when the
slowest service has answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


def at_once(calls: Sequence[Callable[[], T]]) -> Iterator[Future[T]]:
    """Start every call, and yield their futures in order, each when its call has ended. Whoever stops listening leaves the
    calls to themselves."""
    futures: list[Future[T]] = [Future() for _ in calls]
    for call, future in zip(calls, futures, strict=True):
        threading.Thread(target=_fill, args=(call, future), daemon=True).start()
    for future in futures:
        wait([future])
        yield future


def _fill(call: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(call())
    except BaseException as fault:  # noqa: BLE001 - whoever asks for the result gets it
        future.set_exception(fault)
