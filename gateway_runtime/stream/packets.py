"""Which packets a client may send: looked at before any library does (Engine.IO 4, Socket.IO 5). Pure.

Engine.IO's libraries parse what they are given and stumble over some of it: nesting that is too deep ends in a traceback,
attachments can be announced by the million, and an event named `disconnect` reaches the handler of real disconnects. So only
what a client of this stream has a reason to send gets past here: no binary data, no acknowledgements (none is asked for), no
other namespace than `/`, and of events only those there are handlers for.
"""

from __future__ import annotations

import re

BRACKETS = 64
"""Opening brackets in one packet: no event here needs three."""
SEPARATOR = b"\x1e"

# Engine.IO:    1 CLOSE      3 PONG    4 MESSAGE
# Socket.IO:    0 CONNECT    1 DISCONNECT    2 EVENT
_PACKET = re.compile(
    r"1|3(?:probe)?"  # PONG; its data says nothing
    r"|40(?:/[A-Za-z0-9/_.-]{0,64},?)?(?:\{.*\})?"
    r"|41(?:/,?)?"
    r"|42(?:/,)?(?:0|[1-9][0-9]{0,15})?\[.*\]",
    re.DOTALL,
)


def allowed(packet: object) -> bool:
    """Whether a client may send this Engine.IO packet. What stands in its brackets is still unread."""
    if not isinstance(packet, str) or not _PACKET.fullmatch(packet):
        return False
    return len(packet) < BRACKETS or packet.count("[") + packet.count("{") <= BRACKETS


def count(body: bytes) -> int:
    """How many packets the body of a POST holds. A client puts all into it that it has to say: how many that may be is what it
    may send at once, so this is asked first."""
    return body.count(SEPARATOR) + 1


def payload(body: bytes) -> list[str] | None:
    """The packets in the body of a POST; None when one of them, or how they are put together, is not allowed."""
    try:
        packets = [packet.decode("utf-8") for packet in body.split(SEPARATOR)]
    except ValueError:
        return None
    return packets if all(allowed(packet) for packet in packets) else None
