"""The content codings the gateway can make: which library, at which level, whole or piece by piece.

Chosen by weight, import time and speed on 34 KB of contacts as JSON (docs/explanation/caching.md has the figures): isal
for gzip (1.1 MB, 0.05 ms), brotli at quality 4 (0.27 ms), backports.zstd at level 1 (1.9 MB, 0.06 ms; `zstandard` does
the same in 24 MB). The libraries are imported when a coding is first used. All three let go of the interpreter lock
while they work, so that a large body can be coded beside the event loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

CODINGS = ("br", "zstd", "gzip")
"""What can be offered; also the default preference among codings a client likes equally (reliability: br first)."""


class Stream(Protocol):
    """Codes a body piece by piece. What `piece` returns can be decoded without what follows."""

    def piece(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Whole(Protocol):
    """Codes a body that is all there."""

    def __call__(self, data: bytes) -> bytes: ...


def whole(coding: str, level: int) -> Whole:
    """The function that codes a whole body."""
    return _WHOLE[coding](level)


def stream(coding: str, level: int) -> Stream:
    """A coder for one body that is still arriving."""
    return _STREAM[coding](level)


def _gzip(level: int) -> Whole:
    from isal import isal_zlib

    return lambda data: isal_zlib.compress(data, level, 31)


def _brotli(level: int) -> Whole:
    import brotli

    return lambda data: brotli.compress(data, quality=level)


def _zstd(level: int) -> Whole:
    zstd = _zstd_library()
    return lambda data: zstd.compress(data, level)


def _zstd_library() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    else:
        from backports import zstd
    return zstd


class _GzipStream:
    def __init__(self, level: int) -> None:
        from isal import isal_zlib

        self._coder = isal_zlib.compressobj(level, isal_zlib.DEFLATED, 31)
        self._flush = isal_zlib.Z_SYNC_FLUSH

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(self._flush)

    def end(self) -> bytes:
        return self._coder.flush()


class _BrotliStream:
    def __init__(self, level: int) -> None:
        import brotli

        self._coder = brotli.Compressor(quality=level)

    def piece(self, data: bytes) -> bytes:
        return bytes(self._coder.process(data) + self._coder.flush())

    def end(self) -> bytes:
        return bytes(self._coder.finish())


class _ZstdStream:
    def __init__(self, level: int) -> None:
        zstd = _zstd_library()
        self._coder = zstd.ZstdCompressor(level)
        self._block, self._frame = zstd.ZstdCompressor.FLUSH_BLOCK, zstd.ZstdCompressor.FLUSH_FRAME

    def piece(self, data: bytes) -> bytes:
        return bytes(self._coder.compress(data, mode=self._block))

    def end(self) -> bytes:
        return bytes(self._coder.flush(self._frame))


_WHOLE: dict[str, Callable[[int], Whole]] = {"gzip": _gzip, "br": _brotli, "zstd": _zstd}
_STREAM: dict[str, Callable[[int], Stream]] = {"gzip": _GzipStream, "br": _BrotliStream, "zstd": _ZstdStream}
