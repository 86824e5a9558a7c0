"""Progress while work goes on, on stderr only. One line per finished step; on a terminal the open step is redrawn too.

`open_progress` chooses: nothing (-q), lines (a pipe, CI) with a heartbeat so that nobody mistakes slow for stuck, or
the live view (a terminal). All three take the same five calls, from any thread.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from xgw.report import Style, paint, safe, signed
from xgw.words import counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

HEARTBEAT_S = 15.0

OUTCOME_SIGNS = {"validated": "ok", "rejected": "fail", "unproven": "warn", "skipped": "skip", "reverted": "skip"}
"""Outcome of a step -> the sign in front of its line. An outcome not named here gets "warn"."""


class Progress(Protocol):
    """What the runner tells while it works. A context manager: leaving it ends whatever it drew."""

    def step_started(self, step: str, title: str) -> None: ...
    def step_note(self, step: str, text: str) -> None: ...
    def evidence(self, step: str, text: str, ok: bool | None) -> None: ...
    def step_finished(self, step: str, outcome: str, text: str, seconds: float) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def open_progress(stream: TextIO | None, style: Style, *, quiet: bool = False, terminal: bool = False) -> Progress:
    """The progress for this stream; `terminal` says that it can be redrawn (a TTY that is not TERM=dumb)."""
    if quiet or stream is None:
        return Silent()
    return LiveView(stream, style) if terminal else Lines(stream, style)


def _finished_line(step: str, outcome: str, text: str, seconds: float, style: Style) -> str:
    title = signed(f"{step}  {safe(text)}", OUTCOME_SIGNS.get(outcome, "warn"), style)
    return f"  {title}  {outcome}  {duration(seconds)}"


def _evidence_line(text: str, ok: bool | None, style: Style) -> str:
    """`ok` None: it could not be told. Never shown as a pass."""
    return "         " + signed(safe(text), "warn" if ok is None else "ok" if ok else "fail", style)


class Silent:
    """Says nothing."""

    def step_started(self, step: str, title: str) -> None:
        """Nothing."""

    def step_note(self, step: str, text: str) -> None:
        """Nothing."""

    def evidence(self, step: str, text: str, ok: bool | None) -> None:
        """Nothing."""

    def step_finished(self, step: str, outcome: str, text: str, seconds: float) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""


class Lines:
    """One line per finished step, its evidence below it; every `heartbeat` seconds of silence one line on what is open.

    A stream that went away ends the talk, never the work.
    """

    def __init__(self, stream: TextIO, style: Style, *, heartbeat: float = HEARTBEAT_S) -> None:
        self._stream = stream
        self._style = style
        self._heartbeat = heartbeat
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, float]] = {}
        self._evidence: dict[str, list[str]] = {}
        self._closed = threading.Event()
        self._spoke = time.monotonic()
        self._beat = threading.Thread(target=self._beats, name="xgw-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._beat.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        if self._beat.ident is not None:
            self._beat.join()

    def step_started(self, step: str, title: str) -> None:
        """The step is open from now on."""
        with self._lock:
            self._open[step] = (safe(title), time.monotonic())

    def step_note(self, step: str, text: str) -> None:
        """What the step does now; heard in the next heartbeat."""
        with self._lock:
            since = self._open[step][1] if step in self._open else time.monotonic()
            self._open[step] = (safe(text), since)

    def evidence(self, step: str, text: str, ok: bool | None) -> None:
        """Kept until the step is finished, and shown under its line."""
        with self._lock:
            self._evidence.setdefault(step, []).append(_evidence_line(text, ok, self._style))

    def step_finished(self, step: str, outcome: str, text: str, seconds: float) -> None:
        """The step's line, then its evidence."""
        with self._lock:
            self._open.pop(step, None)
            self._say(_finished_line(step, outcome, text, seconds, self._style), *self._evidence.pop(step, []))

    def _say(self, *lines: str) -> None:
        self._spoke = time.monotonic()
        with suppress(OSError, ValueError):
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def _beats(self) -> None:
        while not self._closed.wait(min(self._heartbeat, 1.0) / 4):
            with self._lock:
                if self._open and time.monotonic() - self._spoke >= self._heartbeat:
                    step, (note, since) = next(reversed(self._open.items()))
                    line = f"  .. {step}  {note}  still at work after {duration(time.monotonic() - since)}"
                    self._say(paint(line, "dim", self._style))


class LiveView:
    """Finished steps scroll away as lines; the open ones are redrawn below them with their newest note and time."""

    def __init__(self, stream: TextIO, style: Style) -> None:
        self._style = style
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, str, float]] = {}
        self._evidence: dict[str, list[str]] = {}
        self._console = _console(stream, style)
        self._live = _live(self._console, self._picture)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._open.clear()
        with suppress(OSError, ValueError):
            self._live.stop()

    def step_started(self, step: str, title: str) -> None:
        """The step is drawn from now on."""
        with self._lock:
            self._open[step] = (safe(title), "", time.monotonic())

    def step_note(self, step: str, text: str) -> None:
        """What the step does now, behind its title."""
        with self._lock:
            title, _, since = self._open.get(step, ("", "", time.monotonic()))
            self._open[step] = (title, safe(text), since)

    def evidence(self, step: str, text: str, ok: bool | None) -> None:
        """Drawn under the open step, and kept under its finished line."""
        with self._lock:
            self._evidence.setdefault(step, []).append(_evidence_line(text, ok, self._style))

    def step_finished(self, step: str, outcome: str, text: str, seconds: float) -> None:
        """The step's line and evidence are written for good."""
        with self._lock:
            self._open.pop(step, None)
            lines = [_finished_line(step, outcome, text, seconds, self._style), *self._evidence.pop(step, [])]
        with suppress(OSError, ValueError):  # a terminal that went away ends the talk, never the work
            self._console.print(_ansi("\n".join(lines)), soft_wrap=True)

    def _picture(self) -> Text:
        """The open steps as they stand; called by rich's refresh thread. Lines are cut at the terminal's width."""
        frames = "|/-\\" if self._style.ascii else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        at = time.monotonic()
        frame = frames[int(at * 8) % len(frames)]
        lines: list[str] = []
        with self._lock:
            for step, (title, note, since) in self._open.items():
                lines.append(f"  {frame} {step}  {title}  {duration(at - since)}  {paint(note, 'dim', self._style)}")
                lines.extend(self._evidence.get(step, []))
        picture = _ansi("\n".join(lines))
        picture.no_wrap, picture.overflow = True, "ellipsis" if not self._style.ascii else "crop"
        return picture


def _console(stream: TextIO, style: Style) -> Console:
    """A terminal that takes text as it is given."""
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=True,
        no_color=not style.colour,
        color_system="standard" if style.colour else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _live(console: Console, picture: Callable[[], Text]) -> Live:
    """Redraws `picture` at the foot of the terminal, eight times a second, and leaves nothing behind."""
    from rich.live import Live

    return Live(
        get_renderable=picture,
        console=console,
        refresh_per_second=8,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _ansi(text: str) -> Text:
    from rich.text import Text

    return Text.from_ansi(text)


# --- rows of a file: how far, how fast, how long still

EVERY_S = 10.0


class Counter(Protocol):
    """What a command that works through many rows tells while it does. A context manager."""

    def told(self, share: float, rows: int, extra: str) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def open_counter(
    stream: TextIO | None, style: Style, doing: str, *, quiet: bool = False, terminal: bool = False
) -> Counter:
    """A bar on a terminal, one line every ten seconds elsewhere, nothing with -q. `doing` stands before it."""
    if quiet or stream is None:
        return NoCounter()
    return BarCounter(stream, style, doing) if terminal else LineCounter(stream, doing)


class Pace:
    """Rows a second since the first call, and the seconds until a share of 1, from what was told."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.share = self.first = -1.0
        self.rows = 0
        self.extra = ""

    def told(self, share: float, rows: int, extra: str) -> None:
        """`share` of the whole is done (0 to 1), with `rows` rows in this process."""
        if self.first < 0:
            self.first = share
        self.share, self.rows, self.extra = max(0.0, min(share, 1.0)), rows, extra

    def line(self) -> str:
        """75%  7,500 rows  141 rejected  4,180 rows/s  eta 1s: what may be cut off stands last."""
        passed = max(time.monotonic() - self.since, 1e-6)
        done = self.share - max(self.first, 0.0)
        eta = f"  eta {duration(passed * (1 - self.share) / done)}" if done > 0 and passed > 0.5 else ""
        extra = f"  {self.extra}" if self.extra else ""
        return f"{max(self.share, 0):4.0%}  {counted(self.rows, 'row')}{extra}  {self.rows / passed:,.0f} rows/s{eta}"


class NoCounter:
    """Says nothing."""

    def told(self, share: float, rows: int, extra: str) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""


class LineCounter:
    """One line every ten seconds. A stream that went away ends the talk, never the work."""

    def __init__(self, stream: TextIO, doing: str, *, every: float = EVERY_S) -> None:
        self._stream, self._doing, self._every, self._pace = stream, doing, every, Pace()
        self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def told(self, share: float, rows: int, extra: str) -> None:
        """Takes note, and speaks when it is time."""
        self._pace.told(share, rows, extra)
        if time.monotonic() - self._spoke >= self._every:
            self._spoke = time.monotonic()
            with suppress(OSError, ValueError):
                self._stream.write(f"{self._doing}  {self._pace.line()}\n")
                self._stream.flush()


class BarCounter:
    """One line that is redrawn: what `Pace.line` says, and before it a bar in the room that is left."""

    WIDTH = 24

    def __init__(self, stream: TextIO, style: Style, doing: str) -> None:
        self._style, self._doing, self._pace = style, doing, Pace()
        self._console = _console(stream, style)
        self._live = _live(self._console, self._picture)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError, ValueError):
            self._live.stop()

    def told(self, share: float, rows: int, extra: str) -> None:
        """Drawn at the next refresh."""
        self._pace.told(share, rows, extra)

    def _picture(self) -> Text:
        line = self._pace.line()
        width = max(0, min(self.WIDTH, self._console.width - len(self._doing) - len(line) - 4))
        full = round(max(self._pace.share, 0.0) * width)
        done, rest = ("#", ".") if self._style.ascii else ("█", "░")
        bar = paint(done * full, "ok", self._style) + rest * (width - full)
        picture = _ansi(f"{self._doing}  {bar}{'  ' if width else ''}{line}")
        picture.no_wrap, picture.overflow = True, "crop"
        return picture
