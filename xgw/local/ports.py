"""Loopback ports. Chosen below the range that systems give out by themselves, so that only a program that asks for
exactly this number can be in the way (Linux gives out 32768 and up, macOS 49152 and up)."""

from __future__ import annotations

import random
import socket
from collections.abc import Container

LOWEST, HIGHEST = 20000, 32767


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when a server could listen on the port now. It may be taken a moment later."""
    try:
        bound(port, host).close()
    except OSError:
        return False
    return True


def bound(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A TCP socket bound to the port. Raises OSError when somebody listens there."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without it a port is refused for a minute after a restart (connections in TIME_WAIT); on POSIX it does not
        # let two servers listen on one port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def listening(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket that listens on the port: from now on nobody else can. Raises OSError when somebody does already."""
    sock = bound(port, host)
    try:
        sock.listen(512)
    except OSError:
        sock.close()
        raise
    return sock


def pick(avoid: Container[int] = ()) -> int:
    """A port on which nobody listens, neither on loopback nor on all addresses. Raises OSError when none is found."""
    for _ in range(200):
        port = random.randint(LOWEST, HIGHEST)  # noqa: S311  no secret
        if port not in avoid and is_free(port) and is_free(port, "0.0.0.0"):  # noqa: S104  only to look
            return port
    raise OSError(f"no free port found between {LOWEST} and {HIGHEST}")
