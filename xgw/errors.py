"""The faults `xgw` can end with, and the exit code each one means (docs/reference/exit-codes.md).

Every fault says three things: what went wrong (the message), why (cause) and what to do next (fix).
Foreign exceptions are turned into these at the one door of the library they come from.
"""

from __future__ import annotations

from enum import IntEnum

SIGN_IN = "gcloud auth application-default login   (or set GOOGLE_APPLICATION_CREDENTIALS)"
"""How to be known to Google Cloud."""


class ExitCode(IntEnum):
    """What the shell sees. One table, used by the CLI, the docs and the tests."""

    OK = 0
    FAILED = 1
    USAGE = 2
    MISSED = 3
    NOT_SIGNED_IN = 4
    CONFLICT = 5
    UNREACHABLE = 6
    REJECTS = 7
    UNPROVEN = 8
    CHANGES = 10
    INTERRUPTED = 130


class XgwError(Exception):
    """A fault with a message, its cause and its fix; `exit_code` is what the process ends with."""

    exit_code = ExitCode.FAILED
    so_far: object = None
    """The run (xgw.runner.Run) that the fault ended, when it had changed something by then: its result is still told."""

    def __init__(self, message: str, *, cause: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.fix = fix


class UsageFault(XgwError):
    """What was typed, or written in xgw.toml, cannot be carried out."""

    exit_code = ExitCode.USAGE


class NotSignedIn(XgwError):
    """Google Cloud has no credentials to use, or refuses the ones it was shown."""

    exit_code = ExitCode.NOT_SIGNED_IN


class Conflict(XgwError):
    """The target moved, drifted, is pinned, or is held by somebody else. Nothing was changed."""

    exit_code = ExitCode.CONFLICT


class Unreachable(XgwError):
    """The target did not answer in time; whether a sent change was made is not known."""

    exit_code = ExitCode.UNREACHABLE


class Refused(XgwError):
    """The platform looked at a change and said no; the change was not made."""


class NotReady(Refused):
    """A new revision did not become ready; it got no traffic."""


class Missed(XgwError):
    """A measured value missed its limit. What was applied for it has been undone."""

    exit_code = ExitCode.MISSED


class Unproven(XgwError):
    """A requirement could not be proven: too little data, or a step that could not be made. Nothing unproven was promoted."""

    exit_code = ExitCode.UNPROVEN


class NotFound(XgwError):
    """The named service, revision or operation is not there."""

    exit_code = ExitCode.USAGE


class LedgerFault(XgwError):
    """The ledger cannot be read or written as it should be."""
