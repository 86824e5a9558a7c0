"""A home, a store and files for the contacts commands: the real command in a process of its own, or the same code in this one."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_runtime.contacts.model import Contact
from gateway_runtime.contacts.store import ContactStore
from gateway_runtime.contacts.stores import store_of
from tests.helpers.command import environment
from tests.helpers.place import Done
from tests.helpers.terminal import xgw_on_terminal
from xgw.cli.main import main

TENANT = "acme"
LIMIT_S = 240


_LIMITED = """
import os, resource, signal, sys
size, *command = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
os.execv(command[0], command)
"""


@dataclass
class Desk:
    """One XGW_HOME and one store. `env` is what a process needs to reach it."""

    root: Path
    url: str
    env: Mapping[str, str] = field(default_factory=dict)
    tenant: str = TENANT

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        return self.root / "home"

    def file(self, text: str | bytes, name: str = "leads.csv") -> str:
        (self.root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    def _words(self, args: tuple[str, ...]) -> list[str]:
        store = ["--store", self.url] if args[0] in ("import", "export", "count") and "--store" not in args else []
        return ["contacts", *args, *store]

    def _environment(self, env: Mapping[str, str], fault: str) -> dict[str, str]:
        told = {**self.env, "XGW_TENANT": self.tenant, **({"XGW_FAULT": fault} if fault else {}), **env}
        return environment(self.home, told)

    def popen(
        self, *args: str, fault: str = "", env: Mapping[str, str] | None = None, largest_file: int = 0, **more: Any
    ) -> Any:
        """`largest_file`: bytes that a file may have, as if the disk were full beyond. Set in a process of its own before the
        command: a hook between fork and exec hangs while this process has threads in gRPC."""
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-m", "xgw", *self._words(args)]
        if largest_file:
            command = [sys.executable, "-c", _LIMITED, str(largest_file), *command]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self._environment(env or {}, fault),
            text=True,
            **{**streams, **more},
        )

    def run(self, *args: str, fault: str = "", env: Mapping[str, str] | None = None, stdin: str | None = None) -> Done:
        more = {"stdin": subprocess.PIPE} if stdin is not None else {}
        with self.popen(*args, fault=fault, env=env, **more) as process:
            try:
                out, err = process.communicate(stdin, timeout=LIMIT_S)
            except BaseException:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def on_terminal(self, *args: str, columns: int) -> tuple[int, str]:
        """The exit code, and what a terminal of that width shows."""
        return xgw_on_terminal(*self._words(args), columns=columns, cwd=self.root, env=self._environment({}, ""))

    def here(self, *args: str, fault: str = "", env: Mapping[str, str] | None = None) -> Done:
        """The same in this process."""
        out, err = io.StringIO(), io.StringIO()
        before, place = dict(os.environ), Path.cwd()
        os.environ.clear()
        os.environ.update(self._environment(env or {}, fault))
        os.chdir(self.root)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(self._words(args))
        finally:
            os.chdir(place)
            os.environ.clear()
            os.environ.update(before)
        return Done(code, out.getvalue(), err.getvalue())

    def data(self, *args: str, code: int = 0, **more: Any) -> Any:
        done = self.here(*args, "-o", "json", **more)
        assert done.code == code, done
        return json.loads(done.out)["data"]

    def brought(self, *args: str, code: int = 0, **more: Any) -> dict[str, int]:
        """The books of an import."""
        found = dict(self.data("import", *args, code=code, **more)["books"])
        assert found.pop("balanced") is True
        return found

    def ask(self, work: Callable[[ContactStore], Any]) -> Any:
        """What a coroutine over the open store returns."""

        async def run() -> Any:
            store = store_of(self.url)
            await store.open()
            try:
                return await work(store)
            finally:
                await store.close()

        before = {name: os.environ.get(name) for name in self.env}
        os.environ.update(self.env)
        try:
            return asyncio.run(run())
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def stored(self, tenant: str = "") -> dict[str, Contact]:
        """Everything that is there, by id."""

        async def read(store: ContactStore) -> dict[str, Contact]:
            found: dict[str, Contact] = {}
            after, more = "", True
            while more:
                page = await store.page(tenant or self.tenant, limit=1000, after=after)
                found |= {one.id: one for one in page.items}
                after, more = (page.items[-1].id if page.items else after), page.has_more
            return found

        return self.ask(read)  # type: ignore[no-any-return]

    def by_email(self) -> dict[str, Contact]:
        return {one.email: one for one in self.stored().values()}


def told(contacts: Mapping[str, Contact]) -> dict[str, Any]:
    """What two runs of one import must agree on: all but the times and the names of the runs."""
    return {
        id: (
            c.type,
            c.name,
            c.email,
            c.relationship_type,
            c.status,
            c.source,
            dict(c.custom_fields),
            c.mark.partition(":")[2],
        )
        for id, c in contacts.items()
    }


def leads(rows: int, *, seed: int = 7) -> str:
    """A file with all that happens: line breaks in quotes, bad addresses, nameless rows, an address again in other letters,
    near and far."""
    drawn = random.Random(seed)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["name", "email", "company", "note"])
    for n in range(rows):
        chance, email, name = drawn.random(), f"person{n}@example.com", f"Person {n}"
        if chance < 0.01:
            email = "jane at example"
        elif chance < 0.02:
            name = ""
        elif chance < 0.05:
            email = f"PERSON{drawn.randrange(max(1, n))}@Example.com"
        elif chance < 0.07:
            email = f"person{max(0, n - 1)}@example.com"
        writer.writerow([name, email, f"Company {n % 50}", f"line one\nline {n}" if chance > 0.9 else f"=1+{n}"])
    return out.getvalue()


def expected(text: str) -> dict[str, tuple[str, str]]:
    """What `leads` must end as, worked out without the importer: address -> (name, company); the first row wins."""
    found: dict[str, tuple[str, str]] = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        email = row["email"]
        if row["name"] and "@" in email:
            found.setdefault(email.casefold(), (row["name"], row["company"]))
    return found


def copied(path: Path, to: Path) -> None:
    """A SQLite file that nobody has open, with what belongs to it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{to}{suffix}")
