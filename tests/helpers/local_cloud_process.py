"""The embedded cloud in a process of its own, to be killed: `python -m tests.helpers.local_cloud_process HOME`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.helpers.local_cloud import LocalCloud

if __name__ == "__main__":
    cloud = LocalCloud(Path(sys.argv[1]))
    print(cloud.target, flush=True)
    threading.Event().wait(300)
