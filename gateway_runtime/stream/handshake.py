"""Whether a request may have a part in the stream at all, before any library sees it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from gateway_runtime.asgi import Request
from gateway_runtime.auth.refusals import ambiguous, missing
from gateway_runtime.errors import Problem
from gateway_runtime.layers.auth import ELSEWHERE, token_in_query
from gateway_runtime.origins import OriginPolicy

_SID = re.compile(r"[A-Za-z0-9_-]{16,32}")
_TOKEN = re.compile(rb"(?i:(?:^|[&;])token=)")
_OURS = frozenset(("EIO", "transport", "sid", "j"))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request to Engine.IO is about. `sid` is empty when it begins a session."""

    transport: str
    sid: str

    @property
    def query(self) -> bytes:
        """What the library gets of the query: nothing that the client made up."""
        return f"EIO=4&transport={self.transport}{f'&sid={self.sid}' if self.sid else ''}".encode("ascii")


def check_origin(request: Request, policy: OriginPolicy) -> None:
    """Problem 403 unless the request comes from a page that may call, or from no page at all.

    One policy for HTTP and for sockets. For HTTP the browser enforces it; a WebSocket the browser opens whatever the server
    answers, so here it is the server that refuses, and for polling too. Programs send no Origin and pass: what lets them in
    is their token. A browser that leaves the Origin out (a script or an image of a foreign page) says so in Sec-Fetch-Site.
    """
    given = [value for name, value in request.headers if name == b"origin"]
    if not given:
        if request.header(b"sec-fetch-site") not in (None, b"same-origin", b"none"):
            raise _foreign()
        return
    if len(given) > 1 or not policy.allows(given[0].decode("latin-1")):
        raise _foreign()


def wish_of(request: Request) -> Wish:
    """What it asks for; Problem 400 for what Engine.IO 4 does not know, 401 for a token in the query."""
    if token_in_query(request.query) or _TOKEN.search(request.query):
        raise missing(ELSEWHERE)
    given: dict[str, str] = {}
    try:
        for name, value in parse_qsl(request.query.decode("ascii"), keep_blank_values=True, max_num_fields=32):
            if name in _OURS and name in given:
                raise _bad("A parameter is there twice")
            given[name] = value
    except ValueError:
        raise _bad("The query is not well formed") from None
    transport, sid = given.get("transport", ""), given.get("sid", "")
    if "j" in given:
        raise _bad("JSONP is not spoken here")
    if given.get("EIO") != "4":
        raise _bad("Engine.IO 4 is spoken here")
    if transport != ("websocket" if request.switch is not None else "polling"):
        raise _bad("The transport is not what the request is")
    if sid and not _SID.fullmatch(sid):
        raise unknown_session()
    if request.method == "POST" and not sid:
        raise _bad("A session begins with GET")
    return Wish(transport, sid)


def authorization_of(request: Request) -> bytes | None:
    """The Authorization field of a handshake; Problem 400 when there are two."""
    given = [value for name, value in request.headers if name == b"authorization"]
    if len(given) > 1:
        raise ambiguous("There is more than one Authorization field")
    return given[0] if given else None


def unknown_session() -> Problem:
    """400: the session is over, or never was. Clients begin a new one."""
    return _bad("There is no such session")


def _foreign() -> Problem:
    return Problem("FORBIDDEN", "Pages of this origin may not connect", reason="origin")


def _bad(message: str) -> Problem:
    return Problem("BAD_REQUEST", message)
