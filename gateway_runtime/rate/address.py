"""Whose request it is, before anybody has shown a token: the network address, as far as it can be trusted."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway_runtime.asgi import Request


def client_address(request: Request, trusted_hops: int) -> str:
    """The address a request counts for: one IPv4 address, or one IPv6 network of /64, which is what one household has.

    With n trusted hops in front, each of which appends the address it was called from to X-Forwarded-For, the caller's is
    the n-th from the right; what stands left of it anybody could have written. With none, or when there are fewer entries
    than hops (the request came past them), it is the peer's.
    """
    return (trusted_hops and _network(_told(request, trusted_hops))) or _network(request.client) or request.client


def forwarded(request: Request, trusted_hops: int) -> tuple[str, str]:
    """The caller's address and scheme for those behind us, found by the same rule. One address and no list: whoever reads it,
    from the left or from the right, reads the same."""
    found = _address(_told(request, trusted_hops)) if trusted_hops else ""
    if not found:
        return request.client, request.scheme
    schemes = (request.joined(b"x-forwarded-proto") or b"").lower().split(b",")
    # Most proxies set this one anew, some append: then the caller's is as far from the right as its address.
    scheme = schemes[-min(trusted_hops, len(schemes))].strip()
    return found, scheme.decode("ascii") if scheme in (b"http", b"https") else request.scheme


def _told(request: Request, trusted_hops: int) -> str:
    """What the outermost proxy that is trusted wrote; "" when the request came past it."""
    given = request.joined(b"x-forwarded-for") or b""
    entries = given.rsplit(b",", trusted_hops)
    return entries[-trusted_hops].strip().decode("latin-1") if len(entries) >= trusted_hops else ""


@lru_cache(maxsize=4096)
def _network(text: str) -> str:
    """Whom an address counts for, "" when it is none. Remembered: reading one takes longer than counting for it."""
    address = _read(text)
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address or "")


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """The address in its one spelling, "" when it is none. Without a zone, which means nothing elsewhere and may be any text."""
    address = _read(text)
    return str(IPv6Address(int(address)) if isinstance(address, IPv6Address) else address or "")


def _read(text: str) -> IPv4Address | IPv6Address | None:
    if text.startswith("[") and "]" in text:  # "[2001:db8::1]:443"
        text = text[1 : text.index("]")]
    elif text.count(":") == 1:  # "192.0.2.1:443"
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
