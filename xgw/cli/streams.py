"""The two streams: what each can carry, and writing to them so that a reader who left is no fault."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from xgw.errors import XgwError
from xgw.report import Style
from xgw.widths import columns

COLOUR_CHOICES = ("auto", "always", "never")
_NEEDED = "✓✗→↺█…⠋"


def resolve_colour(choice: str, is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """--color, then NO_COLOR, then CLICOLOR_FORCE or FORCE_COLOR, then TERM=dumb, then CLICOLOR=0, then the stream."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    for variable in ("CLICOLOR_FORCE", "FORCE_COLOR"):
        if environ.get(variable, "0") not in ("", "0"):
            return True
    if environ.get("TERM") == "dumb" or environ.get("CLICOLOR") == "0":
        return False
    return is_terminal


def resolve_ascii(encoding: str | None, environ: Mapping[str, str]) -> bool:
    """True when XGW_ASCII is set (and not 0), or the stream's encoding cannot carry the signs."""
    if environ.get("XGW_ASCII", "0") not in ("", "0"):
        return True
    try:
        _NEEDED.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def resolve_width(stream: TextIO, environ: Mapping[str, str]) -> int | None:
    """COLUMNS, then what the terminal says of itself; None for anything else, where lines are as long as they are."""
    if not is_terminal(stream):
        return None
    own = 0
    with suppress(OSError, ValueError):
        own = os.get_terminal_size(stream.fileno()).columns
    return columns(environ.get("COLUMNS"), own)


def style_of(stream: TextIO | None, choice: str, environ: Mapping[str, str] | None = None) -> Style:
    """What this stream can carry."""
    told = os.environ if environ is None else environ
    if stream is None:
        return Style(colour=False, ascii=True)
    colour = resolve_colour(choice, is_terminal(stream), told)
    return Style(colour, resolve_ascii(stream.encoding, told), resolve_width(stream, told))


def is_terminal(stream: TextIO | None) -> bool:
    """True when somebody may be looking; a closed stream is nobody."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def is_redrawable(stream: TextIO | None) -> bool:
    """True for a terminal that understands cursor movement."""
    return is_terminal(stream) and os.environ.get("TERM", "dumb") != "dumb"


def write_out(text: str) -> bool:
    """Data, to stdout. A reader that left (`| head -1`) is no fault: the command goes on and keeps its exit code. False when
    this text was the one that met nobody; what is written after it goes nowhere."""
    try:
        return _write(sys.stdout, text)
    except OSError as error:
        raise XgwError(
            "the output could not be written", cause=error.strerror or str(error), fix="make room, or write elsewhere"
        ) from error


def write_err(text: str) -> None:
    """Talk, to stderr. Nobody to talk to is no fault."""
    try:
        _write(sys.stderr, text)
    except OSError:
        return


def write_err_at_once(text: str) -> None:
    """The same from a signal handler: straight to the file, past the stream's buffer. The handler may have interrupted a write
    into that buffer, and Python answers a second one inside it with RuntimeError."""
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), text.encode(sys.stderr.encoding, "backslashreplace"))


def _write(stream: TextIO | None, text: str) -> bool:
    if stream is None or not text:
        return True
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _drop(stream)
        return False
    except OSError:
        _drop(stream)
        raise
    return True


def _drop(stream: TextIO) -> None:
    """Sends what is still buffered nowhere, so that the interpreter's last flush does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def tolerate_any_text() -> None:
    """A sign the terminal's encoding has not is written as an escape instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
