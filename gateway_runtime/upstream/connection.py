"""One HTTP/1.1 connection to an upstream, and the answer it is reading.

States: idle (open, nothing asked) → asked (`send`) → head (status and fields are there) → whole (the last byte too),
from where `reset` makes it idle again. Anything unexpected in any state ends in broken: the connection is closed and
never used again. Nothing is guessed; the llhttp parser runs in its strict form, and what it lets through but two
servers could read differently is refused here (RFC 9112 6.3, 11.2): bytes past the promised end, codings other than
chunked, a switch of protocols nobody asked for, a body cut short.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from time import monotonic
from typing import TYPE_CHECKING

import httptools

from gateway_runtime.errors import Problem

if TYPE_CHECKING:
    from gateway_runtime.upstream.client import Expiry

HEAD_LIMIT = 64 * 1024
FIELD_LIMIT = 200
ANSWER_LIMIT = 10 * 1024 * 1024
"""Bytes of an answer's body (plan 1.5: maxContentLength)."""
BUFFER_LIMIT = 64 * 1024
OTHER_LIMIT = HEAD_LIMIT + 64 * 1024
"""Bytes of an answer that are no body: head, sizes of chunks, their extensions, trailer; and OTHER_RATIO for each of body."""
OTHER_RATIO = 8
"""A chunk of one byte has five bytes around it, and a few more where its size is written with zeros in front."""
INTERIM_LIMIT = 8


class Stale(Exception):
    """The connection had been closed by the other side before a byte of this answer came."""


class Unanswered(Problem):
    """Nothing of an answer has come, not even a byte: what may be sent twice can be sent again."""


class Connection(asyncio.Protocol):
    """See the module. Methods that wait raise Problem (502, 504), ClientGone, or Stale."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.fault: Exception | None = None
        self.used = False
        self.idle_since = 0.0
        self.paused = False
        """Whether the client takes the answer slower than it comes."""
        self.expiry: Expiry | None = None
        """What bounds its exchanges in time."""
        self._clean = False
        self._begin(b"")
        self._asked = False

    def _begin(self, method: bytes) -> None:
        if not self._clean:
            self._parser = httptools.HttpResponseParser(self)
        self._clean = False
        """Whether the parser stands behind a whole answer, as it saw it, and can read another."""
        self._bodiless = method == b"HEAD"
        self._asked = True
        self._bytes = self._head_bytes = self._interim = self._body_bytes = 0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self._buffered = 0
        self.head = False
        self.whole = False
        self.reusable = False
        self._until_close = False
        self.was_paused = False
        self.sent_at = self.heard_at = monotonic()
        """When the request had been written, and when the last bytes came."""
        self.uploading = False
        """Whether it is the client that is waited for: more of the request's body has to come."""

    # What the exchange does with it.

    @property
    def open(self) -> bool:
        """Whether it can carry another exchange."""
        return self.fault is None and self._transport is not None and not self._transport.is_closing()

    def send(self, method: bytes, data: bytes) -> None:
        """Sends the head of a request and whatever body is at hand."""
        self._begin(method)
        self.write(data)

    def write(self, data: bytes) -> None:
        """Sends more of the request's body."""
        if self._transport is not None and self.fault is None:
            self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the upstream has taken enough for more to be written."""
        if self._drained is not None and self.fault is None:
            await self._drained

    async def answer(self) -> None:
        """Returns when `status` and `headers` are there."""
        while not self.head:
            await self._progress()
        if self.fault is not None and not self.whole:
            raise self.fault

    async def piece(self) -> bytes:
        """The next piece of the body, empty at its end."""
        while not self.pieces and not self.whole:
            await self._progress()
        data = b"".join(self.pieces)
        self.pieces.clear()
        self._buffered = 0
        if self.paused and self._transport is not None and not self._transport.is_closing():
            self.paused = False
            self._transport.resume_reading()
        return data

    def reset(self) -> bool:
        """Makes it idle after a whole answer; False, and closed, when it cannot be used again."""
        if self.whole and self.reusable and self.open and not self.paused:
            self.used = True
            self._asked = False
            self.idle_since = monotonic()
            return True
        self.close()
        return False

    def break_off(self, fault: Exception) -> None:
        """Closes it from any callback; whoever waits gets the fault. The first fault counts."""
        if self.fault is None and not self.whole:
            self.fault = fault
        self.close()
        self._wake()
        self.resume_writing()

    def close(self) -> None:
        """Closes it without waiting."""
        if self._transport is not None:
            if not self.whole:
                _reset_if_stuck(self._transport)
            self._transport.abort()

    def _progress(self) -> asyncio.Future[None]:
        """Done when something has come, or the exchange is broken."""
        if self.fault is not None:
            raise self.fault
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _malformed(self, reason: str) -> None:
        self.break_off(Problem("BAD_GATEWAY", reason=reason))

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        # Bytes a read may bring, and be held while a client reads slowly: asyncio's own 256 KiB are mapped anew for each. Over
        # TLS asyncio reads as it likes: up to 416 KiB were seen at once.
        transport.max_size = BUFFER_LIMIT  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self._asked or self.whole or self._parser is None:
            return self._malformed("bytes that belong to no answer")
        self.heard_at = monotonic()
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return self._malformed("a change of protocol nobody asked for")
        except httptools.HttpParserError as error:
            return self._malformed(f"not HTTP/1.1: {error}")
        if (other := self._bytes - self._body_bytes) > HEAD_LIMIT:
            if not self.head:
                return self._malformed("the head is too long")
            if other > OTHER_LIMIT + OTHER_RATIO * self._body_bytes:
                return self._malformed("too much besides the body")
        if self._buffered > BUFFER_LIMIT and not self.paused and self._transport and not self.whole:
            self.paused = self.was_paused = True
            self._transport.pause_reading()
        if self.head and self._waiter is not None:
            self._wake()
        return None

    def connection_lost(self, error: Exception | None) -> None:
        if self._until_close and error is None and self.fault is None:
            self.whole = True
        if not self.whole and self.fault is None:
            fresh = not self._bytes and not self.head
            reason = "closed before the answer was whole"
            if not fresh:
                self.fault = Problem("BAD_GATEWAY", reason=reason)
            else:
                self.fault = Stale() if self.used else Unanswered("BAD_GATEWAY", reason=reason)
        self._wake()
        self.resume_writing()
        self._parser = self.expiry = None  # each holds the connection; it has no more use for either

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    # What the parser says. An exception here would be swallowed by it, so each checks and calls _malformed.

    def on_message_begin(self) -> None:
        if self.whole:
            self.reusable = False
            self._malformed("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head:
            return  # a trailer: never merged into the fields (RFC 9110 6.5.1)
        self.headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value)
        if len(self.headers) > FIELD_LIMIT or self._head_bytes > HEAD_LIMIT:
            self._malformed("the head is too long")

    def on_headers_complete(self) -> None:
        if self.fault is not None or self.head:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers.clear()
            self._interim += 1
            if status == 101 or self._interim > INTERIM_LIMIT:
                self._malformed("interim answers")
            return
        if not 200 <= status < 600 or self._parser.get_http_version() not in ("1.1", "1.0"):
            self._malformed("status or version")
            return
        self.status = status
        self._frame(status)

    def _frame(self, status: int) -> None:
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        length = next((value for name, value in self.headers if name == b"content-length"), None)
        if codings and codings != [b"chunked"]:
            self._malformed("transfer coding")
        elif length is not None and int(length) > ANSWER_LIMIT and not self._bodiless:
            self._malformed("the body is too large")
        else:
            self.reusable = bool(self._parser.should_keep_alive())
            self.head = True
            if self._bodiless or status in (204, 304):
                self.whole = True
            elif length is None and not codings:
                self._until_close = True

    def on_body(self, body: bytes) -> None:
        if self.whole or self.fault is not None:
            self._malformed("a body where none belongs")
            return
        self._body_bytes += len(body)
        if self._body_bytes > ANSWER_LIMIT:
            self._malformed("the body is too large")
            return
        self.pieces.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self.head and not self._until_close and self.fault is None:
            self._clean = not self.whole and self.reusable
            self.whole = True


def _reset_if_stuck(transport: asyncio.Transport) -> None:
    """Has its end be a reset when the upstream has not taken all of the request: an ordinary end would stand in line behind
    bytes that it may never read, and so it would go on working for nobody. Linux; elsewhere it hears when it reads on."""
    wire = transport.get_extra_info("socket")
    if sys.platform != "linux" or wire is None or wire.fileno() < 0:
        return
    if struct.unpack("i", fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
