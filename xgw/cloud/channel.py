"""gRPC channels to Google Cloud, or to the embedded target that speaks the same protocol on loopback.

Only the address and the credentials differ between the two, and they are chosen here. A channel that is not `writable`
refuses every RPC that could change something, before it leaves the process: plan and dry-run cannot write.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc

from xgw.cloud.faults import as_ours
from xgw.errors import Refused, UsageFault

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_READS = ("Get", "List", "Wait", "Query")


@dataclass(frozen=True)
class Address:
    """Where the APIs are: `endpoint` is a loopback "host:port", or empty for Google Cloud itself."""

    endpoint: str = ""
    writable: bool = False

    def __post_init__(self) -> None:
        """Refuse an endpoint that is not loopback: it would get requests without credentials or encryption."""
        if self.endpoint and not _is_loopback(self.endpoint):
            raise UsageFault(
                f"XGW_ENDPOINT={self.endpoint!r} is not a loopback address",
                cause="an endpoint is spoken to without credentials and without TLS",
                fix="use 127.0.0.1:PORT, or unset XGW_ENDPOINT to reach Google Cloud",
            )


class _ReadOnly(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Lets Get, List, Wait, Query and validate_only through; refuses the rest."""

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        verb = str(details.method).rsplit("/", 1)[-1]
        if verb.startswith(_READS) or getattr(request, "validate_only", False):
            return continuation(details, request)
        raise Refused(f"{verb} was refused: this command only reads", cause="plan and dry-run never change the target")


def client(kind: type[Any], address: Address, host: str) -> Any:
    """A stock Google client of `kind` on `address`; `host` is the API's public host name. Raises NotSignedIn."""
    transport = kind.get_transport_class("grpc")
    if address.endpoint:
        channel = grpc.insecure_channel(address.endpoint, options=(("grpc.enable_http_proxy", 0),))
    else:
        with as_ours("signing in"):
            channel = transport.create_channel(f"{host}:443", credentials=_credentials(), scopes=SCOPES)
    if not address.writable:
        channel = grpc.intercept_channel(channel, _ReadOnly())
    return kind(transport=transport(channel=channel))


@cache
def _credentials() -> Any:
    import google.auth

    credentials, _ = google.auth.default(scopes=SCOPES)
    return credentials


def _is_loopback(endpoint: str) -> bool:
    host, _, port = endpoint.rpartition(":")
    if not port.isdigit():
        return False
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
