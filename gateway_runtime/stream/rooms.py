"""What a client may ask for: rooms of its own tenant, so many, and names that are names.

subscribe(name | [names])    -> {"ok": true, "rooms": [...]}  or  {"ok": false, "error": {"code", "message"}}
unsubscribe(name | [names])  -> the same
keepalive()                  -> {"ok": true}
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway_runtime.stream.engine import Server
    from gateway_runtime.stream.session import Session

ROOMS = 20
"""Rooms of one socket."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def room_key(tenant: str, room: str) -> str:
    """The engine's name for a tenant's room. Injective: no tenant and room can be put together to another one's."""
    return f"{len(tenant)}:{tenant}:{room}"


def answer_to(server: Server, session: Session, event: str, arguments: list[Any]) -> dict[str, Any]:
    """Does what the event asks for, or says why not."""
    if event == "keepalive":
        return {"ok": True}
    if event not in ("subscribe", "unsubscribe"):
        return _no("UNKNOWN_EVENT", "There is no such event here")
    names = _names(arguments)
    if names is None:
        return _no("INVALID_ROOM", "A room is named by 1 to 64 letters, digits and . _ : -")
    rooms = session.rooms or set()
    wanted = rooms | names if event == "subscribe" else rooms - names
    if len(wanted) > ROOMS:
        return _no("TOO_MANY_ROOMS", f"A socket may have {ROOMS} rooms")
    assert session.identity is not None
    tenant = session.identity.tenant
    for name in wanted - rooms:
        server.enter(session, room_key(tenant, name))
    for name in rooms - wanted:
        server.leave(session, room_key(tenant, name))
    session.rooms = wanted
    return {"ok": True, "rooms": sorted(wanted)}


def _names(arguments: list[Any]) -> set[str] | None:
    if len(arguments) != 1:
        return None
    given = arguments[0] if isinstance(arguments[0], list) else [arguments[0]]
    if not 0 < len(given) <= ROOMS or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in given):
        return None
    return set(given)


def _no(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": message}}
