"""A home of its own for the real command and the real local target; everything it starts is stopped, and seen to be gone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.helpers.command import environment
from xgw.cli.main import main
from xgw.ledger import Ledger, Record
from xgw.local import lifecycle
from xgw.local.files import LocalEndpoint
from xgw.settings import Settings, load
from xgw.target import Target, connect

TARGET = "projects/xgw-local/locations/us-central1"
READS = ("Get", "List", "Wait", "Query")


@dataclass(frozen=True)
class Done:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]

    def assert_told(self, code: int, *words: str) -> None:
        """It failed as a fault should: the exit code, error / cause / fix, nothing on stdout, no traceback."""
        assert self.code == code, self
        assert self.out == "", self
        assert self.err.count("error: ") == 1, self
        assert "\n  cause: " in self.err, self
        assert "\n  fix:   " in self.err, self
        assert "Traceback" not in self.err, self
        for word in words:
            assert word in self.err, (word, self)


@dataclass
class Place:
    """One XGW_HOME. `run` is the real command in its own process; `look` the same code in this one, for what only reads."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "h"

    def popen(self, *args: str, fault: str = "", env: Mapping[str, str] | None = None, **options: Any) -> Any:
        told = {**self.env, **({"XGW_FAULT": fault} if fault else {}), **(env or {})}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "xgw", *args]
        return subprocess.Popen(command, cwd=self.root, env=environment(self.home, told), **{**streams, **options})

    def run(self, *args: str, timeout: float = 240, **options: Any) -> Done:
        with self.popen(*args, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return Done(process.returncode, out or "", err or "")

    def shell(self, script: str, timeout: float = 240) -> Done:
        """A line of shell; `xgw` in it is the real command."""
        xgw = f'xgw() {{ "{sys.executable}" -m xgw "$@"; }}; '
        done = subprocess.run(
            ["bash", "-c", xgw + script],
            cwd=self.root,
            env=environment(self.home, self.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, **options: Any) -> Done:
        done = self.run(*args, **options)
        assert done.code == 0, done
        return done

    def json(self, *args: str, **options: Any) -> Any:
        return self.ok(*args, "-o", "json", **options).data

    def look(self, *args: str) -> Any:
        return json.loads(self.text(*args, "-o", "json"))["data"]

    def text(self, *args: str) -> str:
        out, err = io.StringIO(), io.StringIO()
        with self._told(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert main([*args, "-q"]) == 0, (args, out.getvalue(), err.getvalue())
        return out.getvalue()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        before, here = dict(os.environ), Path.cwd()
        os.environ.update({**self.env, "XGW_HOME": str(self.home)})
        os.chdir(self.root)
        try:
            yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)

    def state(self) -> str:
        return self.text("state", "--json")

    def step(self, step: str, target: str = TARGET) -> str:
        """Where the step stands, by the ledger."""
        with contextlib.closing(Ledger(self.home / "ledger.db")) as ledger:
            found = ledger.latest(target).get(step)
        return found.state if found else ""

    def records(self, **which: Any) -> list[Record]:
        with contextlib.closing(Ledger(self.home / "ledger.db")) as ledger:
            ledger.check()
            return ledger.records(**which)

    def revisions(self, service: str = "gateway") -> list[str]:
        return [row["revision"] for row in self.look("revisions", service)]

    def serving(self, service: str = "gateway") -> str:
        return next(row["revision"] for row in self.look("revisions", service) if row["traffic"] == "100%")

    def rpc_counts(self) -> dict[str, int]:
        self.endpoint()
        found = lifecycle.status(self.home)
        assert found
        return dict(found.rpc_counts)

    def writes(self) -> dict[str, int]:
        """How often each RPC that can change something was called."""
        return {name: n for name, n in self.rpc_counts().items() if not name.rsplit("/")[-1].startswith(READS)}

    def endpoint(self) -> LocalEndpoint:
        with self._told():
            return lifecycle.ensure_up(self.home)

    def settings(self) -> Settings:
        with self._told():
            return load()

    def target(self, *, writable: bool = False) -> Target:
        found = self.endpoint()
        return connect(
            self.settings(),
            project="xgw-local",
            label="local",
            endpoint=found.grpc,
            writable=writable,
            redis=found.redis,
        )

    def change_by_hand(self, service: str, **fields: str) -> None:
        """As a colleague with another client would: the stock one, straight at the API."""
        import grpc
        from google.cloud import run_v2
        from google.cloud.run_v2.services.services.transports import ServicesGrpcTransport

        with grpc.insecure_channel(self.endpoint().grpc) as channel:
            client = run_v2.ServicesClient(transport=ServicesGrpcTransport(channel=channel))
            message = client.get_service(name=f"{TARGET}/services/{service}")
            message.template.revision = ""
            container = message.template.containers[0]
            for name, value in fields.items():
                if name == "memory":
                    container.resources.limits["memory"] = value
                elif name == "image":
                    container.image = value
                else:
                    next(v for v in container.env if v.name == name).value = value
            client.update_service(service=message).result(timeout=60)

    def processes(self) -> list[psutil.Process]:
        """Every living process that works in this home or was told about it."""
        return [process for process in psutil.process_iter() if _is_of(process, str(self.home))]

    def close(self) -> None:
        """Stop it and see that nothing lives on; what does is ended, and is a failure."""
        try:
            done = self.run("local", "down")
        finally:
            left = self.processes()
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        assert done.code == 0, done
        assert left == []


def _is_of(process: psutil.Process, home: str) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(home in word for word in process.cmdline()) or process.cwd().startswith(home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
