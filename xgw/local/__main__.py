"""`python -m xgw.local --home DIR`: the local target in the foreground. `xgw local up` starts this and detaches it."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m xgw.local", description="Serve the local target until SIGTERM.")
    parser.add_argument("--home", type=Path, required=True, help="directory whose `local` folder holds the state")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)

    from xgw.local.daemon import run

    return run(options.home.resolve())


if __name__ == "__main__":
    sys.exit(main())
