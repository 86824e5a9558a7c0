"""Whose request it is, before anybody has shown a token: the network address, as far as it can be trusted."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from gateway_runtime.asgi import Request


def client_address(request: Request, trusted_hops: int) -> str:
    """The address a request counts for: one IPv4 address, or one IPv6 network of /64, which is what one household has.

    With n trusted hops in front, each of which appends the address it was called from to X-Forwarded-For, the caller's is
    the n-th from the right; what stands left of it anybody could have written. With none, or when there are fewer entries
    than hops (the request came past them), it is the peer's.
    """
    if trusted_hops:
        given = request.joined(b"x-forwarded-for") or b""
        entries = given.rsplit(b",", trusted_hops)
        if given and len(entries) >= trusted_hops:
            found = _network(entries[-trusted_hops].strip().decode("latin-1"))
            if found:
                return found
    return _network(request.client) or request.client


@lru_cache(maxsize=4096)
def _network(text: str) -> str:
    """The address in its one spelling, "" when it is none. Remembered: reading one takes longer than counting for it."""
    if text.startswith("[") and "]" in text:  # "[2001:db8::1]:443"
        text = text[1 : text.index("]")]
    elif text.count(":") == 1:  # "192.0.2.1:443"
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
