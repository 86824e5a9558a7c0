"""One connection to Redis. The only file of the runtime that imports redis-py.

redis-py brings the URL forms, TLS, AUTH and the parser (hiredis where installed). What it would repeat or wait for is
switched off: its default retries turn one refused connection into seconds (measured: 3.6 s a command), so there are none
here, and every deadline is the caller's.

An exchange is whole or the connection is dead: an answer that was not read can never be taken for the next one's
(CVE-2023-28858).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

Command = tuple[bytes | str | int, ...]


class WireBroken(Exception):
    """The connection failed; nothing more can be learnt from it. The message names no address."""


class Refused(Exception):
    """Redis answered with an error. Its message is the error's code, as LOADING or WRONGTYPE."""


_CODES = {
    "NoScriptError": "NOSCRIPT",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "OutOfMemoryError": "OOM",
    "ExecAbortError": "EXECABORT",
}
"""redis-py takes the code off the errors it knows and keeps it as a class."""


def load() -> None:
    """Imports redis-py: a tenth of a second and more, so in a thread, after the process already answers."""
    import redis.asyncio.connection  # noqa: F401


class Wire:
    """A connection under one client name."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str, name: str) -> Wire:
        """A connection that has introduced itself; WireBroken. Not bounded in time: the caller's deadline holds."""
        from redis.asyncio.connection import Connection, parse_url
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = dict(parse_url(url))
        kind = options.pop("connection_class", Connection)
        connection = kind(
            **options,
            protocol=2,
            client_name=name,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=_introduced,
            socket_timeout=None,
            socket_connect_timeout=None,
            health_check_interval=0,
        )
        wire = cls(connection)
        try:
            await connection.connect()
        except asyncio.CancelledError:
            wire.close()
            raise
        except Exception as fault:  # whatever a broken peer makes of redis-py, it is a broken peer
            wire.close()
            raise WireBroken(type(fault).__name__) from fault
        return wire

    @property
    def alive(self) -> bool:
        """False when the other side has closed it, as far as can be told without asking."""
        reader = self._connection._reader
        return reader is not None and not reader.at_eof() and reader.exception() is None

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to all commands, sent in one write; an error answer is a Refused. WireBroken otherwise."""
        from redis.exceptions import ResponseError

        connection = self._connection
        answers: list[Any] = []
        try:
            await connection.send_packed_command(packed(commands), check_health=False)
            for _ in commands:
                try:
                    answers.append(await connection.read_response())
                except ResponseError as error:
                    answers.append(Refused(_code(error)))
        except asyncio.CancelledError:
            self.close()
            raise
        except Exception as fault:
            self.close()
            raise WireBroken(type(fault).__name__) from fault
        return answers

    async def listen(self) -> Any:
        """The next thing Redis says by itself (after SUBSCRIBE); WireBroken."""
        try:
            return await self._connection.read_response()
        except asyncio.CancelledError:
            self.close()
            raise
        except Exception as fault:
            self.close()
            raise WireBroken(type(fault).__name__) from fault

    def say(self, *command: bytes | str | int) -> None:
        """Sends a command whose answer somebody who listens will hear. Never waits."""
        writer = self._connection._writer
        if writer is not None:
            writer.write(packed([command]))

    def close(self) -> None:
        """Drops the connection without waiting."""
        writer = self._connection._writer
        if writer is not None:
            writer.transport.abort()
            self._connection._reader = self._connection._writer = None


async def _introduced(connection: AbstractConnection) -> None:
    """What redis-py says first; and whatever it says, it never uses asyncio's own `writelines`.

    In Python 3.12, and in 3.13 until lately, that has the descriptor of a connection that is lost, but not closed yet, watched
    again (python/cpython#136234). Whoever gets that descriptor next, a client of ours perhaps, is never read.
    """
    writer = connection._writer
    assert writer is not None
    transport = writer.transport
    writer.writelines = lambda data: transport.write(b"".join(data))  # type: ignore[method-assign]
    await connection.on_connect()


def packed(commands: Sequence[Command]) -> bytes:
    """The commands in RESP. redis-py's own packing took 20 microseconds a command, which is a tenth of a request."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            if not isinstance(word, bytes):
                word = word.encode() if isinstance(word, str) else b"%d" % word
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


def _code(error: Exception) -> str:
    first = str(error).partition(" ")[0]
    return _CODES.get(type(error).__name__) or (first if first.isupper() else "ERR")
