"""A TCP proxy in front of Redis that misbehaves as it is told to. Its own thread and event loop."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable

from tests.helpers.waiting import PATIENCE, free_port

Fault = str


class FaultProxy:
    """`fault` is looked at for every connection and every piece; "" passes everything on."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.fault: Fault = ""
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def set(self, fault: Fault) -> None:
        """From now on; connections that are open when something breaks are broken, too."""
        if self.fault == "refused":
            self._do(self._listen)
        self.fault = fault
        if fault == "refused":
            self._do(self._close)
        if fault in ("reset", "refused"):
            self._do(self._reset)
        if fault == "half-close":
            self._do(self._half_close)

    def close(self) -> None:
        self._do(self._close)
        self._do(self._reset)
        self._do(self._cancel)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=PATIENCE)
        self._loop.close()

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        async def done() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(timeout=PATIENCE)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cancel(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _reset(self) -> None:
        for writer in list(self._writers):
            wire = writer.get_extra_info("socket")
            if wire is not None and wire.fileno() >= 0:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _half_close(self) -> None:
        for writer in list(self._writers):
            if writer.can_write_eof():
                writer.write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.fault == "reset":
                await self._reset()
                return
            if self.fault == "half-close":
                writer.write_eof()
                await reader.read()
                return
            back, forth = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(self._up(reader, forth, writer), self._down(back, writer))
            finally:
                forth.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _up(
        self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(65536):
            if self.fault == "blackhole":
                continue
            if self.fault in ("LOADING", "WRONGTYPE"):
                count = piece.count(b"\r\n$") and max(1, sum(part.startswith(b"*") for part in piece.split(b"\r\n")))
                text = b"LOADING Redis is loading the dataset in memory"
                if self.fault == "WRONGTYPE":
                    text = b"WRONGTYPE Operation against a key holding the wrong kind of value"
                writer.write((b"-" + text + b"\r\n") * (count or 1))
                continue
            forth.write(piece)
        forth.write_eof()

    async def _down(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while piece := await back.read(65536):
            if self.fault == "slow":
                await asyncio.sleep(random.uniform(0.2, 0.9))
            elif self.fault == "garbage":
                piece = bytes(random.randrange(256) for _ in range(len(piece)))
            elif self.fault == "drop":
                passed += len(piece)
                if passed > 400:
                    break
            elif self.fault == "trickle":
                for byte in piece:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.02)
                continue
            writer.write(piece)
        writer.close()
