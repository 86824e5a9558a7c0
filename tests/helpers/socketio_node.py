"""The npm package socket.io-client under Node: what browsers run, driven from here.

Where Node or npm is missing, tests are skipped and say so; with CI in the environment they fail instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.waiting import PATIENCE

HERE = Path(__file__).parent / "socketio"
LOCK = HERE / "package-lock.json"
CLOSE = '{"close":true}'


@cache
def modules() -> Path:
    """The installed packages of the lock file, shared by all test runs of this user."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        _cannot(f"{' and '.join(missing)} not found: the real socket.io-client was not tried")
    mark = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xgw-tests"
    folder = base / f"socketio-{mark}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{mark}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test processes installs
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            done = subprocess.run(
                ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode:
                _cannot(f"npm ci failed: {done.stderr.strip()[-300:]}")
            (folder / "ready").touch()
    return folder / "node_modules"


def _cannot(told: str) -> None:
    if os.environ.get("CI", "") not in ("", "0", "false"):
        pytest.fail(told)
    pytest.skip(told)


class NodeClient:
    """A running client; `events` grows as things happen."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._waiting: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self.events: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._waiting.append(self.events[-1])
                self._changed.notify_all()

    def until(self, name: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The next event of this name that was not asked for yet."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                for at, event in enumerate(self._waiting):
                    if event["on"] == name:
                        return self._waiting.pop(at)
                assert self._changed.wait(max(0.0, end - time.monotonic())), f"no {name!r} in {self.events}"

    def ask(self, *emit: Any) -> Any:
        """Emits an event; what its acknowledgement says."""
        self.tell(json.dumps({"emit": emit}))
        return self.until("ack")["data"][0]

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextmanager
def node_client(
    port: int, token: str, *transports: str, origin: str = "", greet: Sequence[Sequence[Any]] = (), **options: Any
) -> Iterator[NodeClient]:
    """A socket.io-client connected (or trying to); killed at the end. `greet` are events it emits whenever it connects."""
    given = {"token": token, "transports": transports or ("websocket",), "origin": origin, "greet": greet}
    given["options"] = options
    process = subprocess.Popen(
        ["node", str(HERE / "client.js"), f"http://127.0.0.1:{port}", json.dumps(given)],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(modules())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield NodeClient(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
