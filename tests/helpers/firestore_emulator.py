"""Google's own Firestore emulator: found through the installed Cloud SDK, one for each test process, killed by its pid.

It keeps everything in its heap and is never cleared: tests take a project of their own (`Emulator.project()`).
Where it is missing, tests are skipped and say so; with CI or XGW_REQUIRE_EMULATOR=1 they fail instead. No registry has it
(not PyPI, npm or Debian; npm's firebase-tools downloads it from Google when it runs): it comes with the Cloud SDK or not at all.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.waiting import free_port

_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_ROOTS = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "~/google-cloud-sdk")
EMULATOR = "FIRESTORE_EMULATOR_HOST"
UNTESTED = "FIRESTORE IS NOT TESTED"
"""How every skip for want of the emulator begins; tests/conftest.py says it again at the end."""
HEAP = "-Xmx1g"
INSTALL = "gcloud components install cloud-firestore-emulator, or google-cloud-cli-firestore-emulator of Google's apt; Java 17"


@dataclass(frozen=True)
class Emulator:
    """A running one."""

    host: str
    pid: int

    @staticmethod
    def project() -> str:
        """A project that nobody else has: nothing is in it."""
        return f"xgw-{secrets.token_hex(6)}"


def find_jar() -> Path | None:
    """The emulator's jar beside the gcloud on PATH, or where packages put the SDK. Runs nothing."""
    roots = [Path(root).expanduser() for root in _ROOTS]
    if os.environ.get("CLOUDSDK_ROOT_DIR"):
        roots.insert(0, Path(os.environ["CLOUDSDK_ROOT_DIR"]))
    if gcloud := shutil.which("gcloud"):
        roots.insert(0, Path(gcloud).resolve().parent.parent)
    return next((jar for root in roots if (jar := root / _JAR).is_file()), None)


def find_java() -> str | None:
    """The Java to run it with."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")


def missing() -> str:
    """What is not installed, "" when all is there."""
    lacks = [name for name, found in (("the emulator", find_jar()), ("java", find_java())) if not found]
    return f"{' and '.join(lacks)} not found" if lacks else ""


def required() -> bool:
    """Whether a test without an emulator is a failure: as XGW_REQUIRE_EMULATOR says, else wherever CI is set."""
    told = os.environ.get("XGW_REQUIRE_EMULATOR") or os.environ.get("CI") or "0"
    return told not in ("0", "false")


def emulator() -> Emulator:
    """This process' emulator, started now if it is not running. Skips the test, or fails it where it is required."""
    if lacking := missing():
        told = f"{UNTESTED}: {lacking} (to get it: {INSTALL})"
        if required():
            pytest.fail(told, pytrace=False)
        pytest.skip(told)
    return started()


@cache
def started() -> Emulator:
    """This process' emulator, without asking whether there can be one."""
    port = free_port()
    words = [str(find_java()), HEAP, "-Xss512k", "-Duser.language=en", "-cp", str(find_jar()), _MAIN]
    process = subprocess.Popen(
        [*words, "--host", "127.0.0.1", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(_kill, process)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if _answers(port):
            return Emulator(f"127.0.0.1:{port}", process.pid)
        time.sleep(0.05)
    _kill(process)
    raise AssertionError("the Firestore emulator did not start")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\nHost: emulator\r\nConnection: close\r\n\r\n")
            return wire.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
