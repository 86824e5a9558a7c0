"""The ports that URLs were given out for. A URL of a service stays the same for as long as the service lives."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from socket import socket

import psutil

from xgw.errors import XgwError
from xgw.local import ports


class PromisedPorts:
    """Ports by service and tag, kept in one file. A promised port is held (bound and listening, so that nobody else can
    take it) from the moment it is first asked for.

    A port is *open* while its service or tag exists: at the next start it must be had, or that start fails. One whose
    tag is gone is *former*: it is given to the same tag again when it is still free, else another one is.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: dict[str, int] = {}
        self._former: dict[str, int] = {}
        self._sockets: dict[str, socket] = {}
        with suppress(FileNotFoundError):
            stored = json.loads(file.read_text())
            self._open, self._former = dict(stored["open"]), dict(stored["former"])

    def port(self, service: str, tag: str = "") -> int:
        """The port of a service or tag. Raises XgwError when it was promised and somebody else has it now."""
        self._hold(_key(service, tag))
        return self._open[_key(service, tag)]

    def listening(self, service: str, tag: str = "") -> socket:
        """The listening socket of a service or tag, to be closed by whoever serves on it."""
        key = _key(service, tag)
        self._hold(key)
        return self._sockets[key]

    def hold_all(self) -> None:
        """Take every open port at once. Raises XgwError for the first that cannot be had."""
        for key in list(self._open):
            self._hold(key)

    def release(self, service: str, tag: str = "") -> None:
        """The tag is gone; its socket is given up."""
        key = _key(service, tag)
        self._drop(key)
        if key in self._open:
            self._former[key] = self._open.pop(key)
            self._save()

    def withdraw(self, service: str) -> None:
        """The service is deleted: nothing is promised any more."""
        for table in (self._open, self._former):
            for key in [key for key in table if key.partition("#")[0] == service]:
                self._drop(key)
                del table[key]
        self._save()

    def close(self) -> None:
        """Give up all sockets; the promises stand."""
        for key in list(self._sockets):
            self._drop(key)

    def _drop(self, key: str) -> None:
        if key in self._sockets:
            self._sockets.pop(key).close()

    def _hold(self, key: str) -> None:
        if key in self._sockets:
            return
        promised = self._open.get(key)
        if promised is not None:
            self._sockets[key] = _listening(promised, key)
            return
        self._sockets[key] = sock = self._any(self._former.pop(key, None))
        self._open[key] = sock.getsockname()[1]
        self._save()

    def _any(self, wished: int | None) -> socket:
        taken = {*self._open.values(), *self._former.values()}
        for attempt in range(20):
            port = wished if attempt == 0 and wished is not None else ports.pick(taken)
            with suppress(OSError):
                return ports.listening(port)
        raise XgwError("No free port for a service on this machine.", fix="Stop programs that listen on 127.0.0.1.")

    def _save(self) -> None:
        fresh = self._file.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump({"open": self._open, "former": self._former}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._file)


def _key(service: str, tag: str) -> str:
    return f"{service}#{tag}" if tag else service


def _listening(port: int, key: str) -> socket:
    try:
        return ports.listening(port)
    except OSError as error:
        raise XgwError(
            f"Port {port} on 127.0.0.1 is taken; it is the address of {key.replace('#', ', tag ')}.",
            cause=_holder(port) or str(error),
            fix=f"Stop the program that listens on port {port}, or give up the local target with `xgw local reset`.",
        ) from error


def _holder(port: int) -> str:
    """Which program listens on a port, as far as this user may see."""
    with suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr[1:] == (port,) and found.pid:
                return f"{psutil.Process(found.pid).name()} (pid {found.pid}) listens there."
    return ""
