"""`python -m gateway_runtime`: reads the environment, listens on $PORT, drains on SIGTERM.

Exit codes: 0 stopped as asked, 1 could not listen, 2 a setting or an argument is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from gateway_runtime import settings as configuration

HELP = """\
Examples:
  ROLE=gateway UPSTREAM_SLACK_URL=http://127.0.0.1:8081 PORT=8080 python -m gateway_runtime
  python -m gateway_runtime --show-settings

Runs one service of the gateway. Everything is set by the environment: docs/reference/gateway-settings.md.

  --show-settings       print what this environment would run with, secrets masked, and end
  --settings-reference  print the reference page of the settings and end
  --help                print this and end
"""


KNOWN = ("--show-settings", "--settings-reference", "--help", "-h")
"""Each stands alone: the first argument after it is the wrong one."""


def main(arguments: list[str]) -> int:
    """Runs the process; returns its exit code."""
    from gateway_runtime import settings as configuration
    from gateway_runtime.masking import of_refused

    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(HELP)
        return 0
    if arguments == ["--settings-reference"]:
        sys.stdout.write(configuration.reference())
        return 0
    if arguments not in ([], ["--show-settings"]):
        wrong = arguments[1 if arguments[0] in KNOWN and arguments[1:] else 0]
        sys.stderr.write(f"gateway_runtime: unknown argument {of_refused(wrong)!a}; see --help\n")
        return 2
    try:
        settings = configuration.read(os.environ)
    except configuration.SettingsFault as fault:
        sys.stderr.write(f"gateway_runtime: {fault}\n")
        return 2
    if arguments:
        sys.stdout.write(configuration.show(settings))
        return 0
    return serve(settings)


def serve(settings: configuration.Settings) -> int:
    """Listens until told to stop."""
    signal.signal(signal.SIGTERM, _end)  # until uvicorn listens, and again when it has drained and passes the signal on
    from gateway_runtime.server.run import run

    return run(settings)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
