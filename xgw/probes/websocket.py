"""WS-4: so many sockets a user and so many in all, by who the token says it is, and for pages that may (plan 1.6).

Black-box over WebSocket, as a client of Engine.IO 4 and Socket.IO 5 does it: open, CONNECT with the token, and read what
comes back. One socket more than the limit is opened, for a user of the probe's own where one can be had; the last must be
refused, and with its reason. All of them are closed again. A socket from a foreign page must not get through the handshake.
The limit of all sockets is read, not reached: reaching it would lock everybody out.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from xgw.errors import Unreachable
from xgw.plan.model import Probe, Reading, Subject, Verdict
from xgw.probes.http import client, stated

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PATH = "/api/xynergyos/v2/stream/?EIO=4&transport=websocket"
STRANGER = "https://evil.example"
FULL = "MAX_CONNECTIONS_EXCEEDED"
ACCEPTED = ""
WAIT_S = 10.0


def sockets_are_limited(role: str) -> Probe:
    """One socket more than a user may have is refused with its reason; capacity is stated."""

    def measure(subject: Subject) -> Reading:
        wanted = subject.wanted[role]
        limit, total = int(wanted["env.WS_MAX_PER_USER"]), int(wanted["env.WS_MAX_TOTAL"])
        expected = f"{limit} sockets a user, {total} in all, foreign pages none"
        token = subject.target.token(user=f"xgw-probe-{secrets.token_hex(4)}")
        if not token:
            return Reading(expected, "nobody can make a token for this target", Verdict.INCONCLUSIVE)
        url = subject.urls[role]
        if _lets_in(url, STRANGER):
            return Reading(expected, f"a page of {STRANGER} gets a socket", Verdict.FAILED, {"strangers": 1})
        with ExitStack() as opened:
            answers = [_connect(opened, url, token) for _ in range(limit + 1)]
            with client(url) as http:
                said = stated(http).get("websocket", {})
        return _judge(expected, answers, said, limit, total)

    return Probe("sockets", measure)


def _judge(expected: str, answers: list[str], said: dict[str, Any], limit: int, total: int) -> Reading:
    open_ones = answers.count(ACCEPTED)
    refused = next((answer for answer in answers if answer != ACCEPTED), "")
    numbers = {"accepted": open_ones, "asked": len(answers)}
    if open_ones > limit:
        return Reading(expected, f"{open_ones} of {len(answers)} sockets of one user let in", Verdict.FAILED, numbers)
    if refused != FULL:
        return Reading(expected, f"a socket was refused for {refused}", Verdict.INCONCLUSIVE, numbers)
    if open_ones < limit:
        measured = f"{open_ones} sockets let in: the user has others, or the limit is lower"
        return Reading(expected, measured, Verdict.INCONCLUSIVE, numbers)
    limits = said.get("limits", {})
    found = limits.get("perUser"), limits.get("total")
    if found != (limit, total):
        return Reading(
            expected, f"/health/deep states {found[0]} a user and {found[1]} in all", Verdict.FAILED, numbers
        )
    counted = said.get("totalConnections", -1)
    if not open_ones <= counted <= total:
        return Reading(
            expected, f"/health/deep counts {counted} sockets, {open_ones} are open", Verdict.FAILED, numbers
        )
    measured = f"{open_ones} let in, the next refused: {FULL}; {counted} of {total} stated"
    return Reading(expected, measured, Verdict.PASSED, numbers)


def _connect(opened: ExitStack, url: str, token: str) -> str:
    """Opens a socket and keeps it open; ACCEPTED, or the code it was refused with."""
    wire = opened.enter_context(_socket(url))
    wire.send(f"40{json.dumps({'token': token})}")
    while True:
        said = wire.recv(timeout=WAIT_S)
        if not isinstance(said, str):
            return "something that is no packet"
        if said.startswith("40"):
            return ACCEPTED
        if said.startswith("44"):
            return str(json.loads(said[2:]).get("data", {}).get("code", "no reason"))


def _lets_in(url: str, origin: str) -> bool:
    """Whether a WebSocket of a page of this origin gets through the handshake."""
    from websockets.exceptions import InvalidStatus

    try:
        with _socket(url, origin):
            return True
    except Unreachable as fault:
        if isinstance(fault.__cause__, InvalidStatus):
            return False
        raise


@contextmanager
def _socket(url: str, origin: str | None = None) -> Iterator[ClientConnection]:
    """An Engine.IO session over WebSocket. Raises Unreachable when it cannot be had, or ends while it is needed."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Origin

    address = f"ws{url.rstrip('/').removeprefix('http')}{PATH}"
    try:
        with connect(
            address, origin=None if origin is None else Origin(origin), open_timeout=WAIT_S, close_timeout=1, proxy=None
        ) as wire:
            wire.recv(timeout=WAIT_S)  # Engine.IO's OPEN
            yield wire
    except (OSError, TimeoutError, WebSocketException) as fault:
        raise Unreachable(f"the stream of {url} does not answer", cause=str(fault) or type(fault).__name__) from fault
