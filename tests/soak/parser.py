"""Requests broken at random against the server edge on a real socket pair, with h11 as the second opinion.

hypothesis takes longer to make an example than the edge to read it; here a generator makes them from a seed, which is
printed with the first disagreement and makes the same bytes again. What must hold is what the unit tests hold it to.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

from tests.helpers.framing_cases import CASES
from tests.unit.gateway import test_server_fuzz as fuzz

METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS")
NAMES = (b"X", b"Accept", b"Cookie", b"Content-Type", b"TE", b"X_Y", b"!")
NASTY = (
    b"\n", b"\r", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"\x0b", b"\x85", b"\xa0", b"\x7f", b"0", b"+", b"-", b"_", b"x",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n", b"0\r\n\r\n",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"HTTP/1.0", b"http://a.example",
)  # fmt: skip
KNOWN = [case.data for case in CASES if len(case.data) < 2000]


def run(examples: int, *, seed: int = 1) -> str:
    """Plays so many examples; AssertionError names the seed of the first that is read in two ways."""
    loop = asyncio.new_event_loop()
    stage = fuzz.Stage(loop)
    faults: list[Any] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    logging.getLogger("uvicorn.error").addHandler(handler := fuzz._Fails(faults))
    taken, refused, began = 0, 0, time.monotonic()
    try:
        for number in range(seed, seed + examples):
            chance = random.Random(number)
            data, cuts = example(chance), [chance.randrange(2000) for _ in range(chance.randrange(4))]
            try:
                found, statuses = stage.play(data, cuts)
                fuzz.agrees(found, statuses, data)
                assert not faults, faults
            except AssertionError as error:
                raise AssertionError(f"seed {number}: {data!r} in pieces {cuts}: {error}") from error
            taken += len(found)
            refused += any(status >= 400 for status in statuses)
    finally:
        logging.getLogger("uvicorn.error").removeHandler(handler)
        if stage.front.sweep._timer is not None:
            stage.front.sweep._timer.cancel()
        loop.close()
    seconds = time.monotonic() - began
    return f"{examples} examples in {seconds:.0f} s: {taken} requests taken as h11 takes them, {refused} refused, 0 otherwise"


def example(chance: random.Random) -> bytes:
    """One to three requests, most of them broken in up to four places; sometimes bytes of no meaning at all."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(300))
    data = chance.choice(KNOWN) if kind < 0.3 else b"".join(_request(chance) for _ in range(chance.randint(1, 3)))
    for _ in range(chance.randrange(5)):
        at, size = chance.randint(0, len(data)), chance.choice((0, 0, chance.randrange(7)))
        bad = chance.choice((b"", chance.choice(NASTY), chance.choice(NASTY), chance.randbytes(chance.randrange(4))))
        data = data[:at] + bad + data[at + size :]
    return data


def _request(chance: random.Random) -> bytes:
    fields, body = [b"Host: a.example"], b""
    for _ in range(chance.randrange(4)):
        value = bytes(byte for byte in chance.randbytes(chance.randrange(12)) if 0x20 <= byte < 0x7F or byte >= 0xA1)
        fields.append(chance.choice(NAMES) + b": " + value)
    framing = chance.random()
    if framing < 0.33:
        body = chance.randbytes(chance.randrange(40))
        fields.append(b"Content-Length: %d" % len(body))
    elif framing < 0.66:
        fields.append(b"Transfer-Encoding: chunked")
        for _ in range(chance.randrange(4)):
            piece = chance.randbytes(chance.randint(1, 40))
            body += b"%x%b\r\n%b\r\n" % (len(piece), chance.choice((b"", b"", b";a", b";a=b")), piece)
        body += b"0\r\n" + chance.choice((b"", b"", b"X: 1\r\n")) + b"\r\n"
    if chance.random() < 0.4:
        fields.append(chance.choice((b"Connection: close", b"Connection: keep-alive", b"Connection: TE")))
    version = b"1.0" if chance.random() < 0.2 and framing < 0.33 else b"1.1"
    path = b"/" + "".join(chance.choices("ab/%2e.;=&?~", k=chance.randrange(12))).encode()
    return b"%b %b HTTP/%b\r\n%b\r\n\r\n%b" % (chance.choice(METHODS), path, version, b"\r\n".join(fields), body)
