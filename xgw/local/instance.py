"""`python -m xgw.local.instance PARENT_PID MODULE [ARGUMENT ...]`: runs MODULE as an instance of a revision.

What holds: on Linux the process dies with the daemon that started it, however the daemon dies. The kernel sends the
SIGKILL (prctl(2), PR_SET_PDEATHSIG), so not even `kill -9` of the daemon leaves an instance behind. It is asked for
here and not between fork and exec: Python code there is unsafe in a process that has gRPC's threads.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> bool:
    """Ask the kernel to kill this process when its parent dies; False when `parent` is gone already.

    Only Linux can; elsewhere the daemon kills what it finds left over when it starts (xgw.local.leftovers).
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # After the request, not before: a parent that died in between would never be noticed.
    return os.getppid() == parent


def main(argv: list[str]) -> None:
    """Run the module named in `argv` in this interpreter, as `python -m` would."""
    parent, module, *arguments = argv
    if not die_with_parent(int(parent)):
        os._exit(137)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
