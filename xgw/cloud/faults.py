"""Google's errors, as ours: the one place where google.api_core exceptions and gRPC statuses get a meaning, and retries a bound.

A call is tried again only when that is safe: reads always, a write only by a caller that looks first whether it was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from google.api_core import exceptions as google
from google.auth import exceptions as auth
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from xgw.errors import SIGN_IN, Conflict, NotFound, NotSignedIn, Refused, Unreachable, XgwError

T = TypeVar("T")

_MEANING: tuple[tuple[type[Exception], type[XgwError], str, str], ...] = (
    (google.NotFound, NotFound, "{what}: not found", "name the services of your deployment in xgw.toml: xgw init"),
    (google.Unauthenticated, NotSignedIn, "{what}: not signed in", SIGN_IN),
    (
        google.PermissionDenied,
        NotSignedIn,
        "{what}: this account may not do that",
        "ask for roles/run.developer on the project",
    ),
    (
        google.Aborted,
        Conflict,
        "{what}: somebody changed it in between",
        "run the same command again to plan from what is there",
    ),
    (google.AlreadyExists, Conflict, "{what}: that name is taken", "run the same command again"),
    (google.FailedPrecondition, Refused, "{what}: refused in its present state", "xgw status   shows what is there"),
    (google.InvalidArgument, Refused, "{what}: refused by the platform", ""),
    (google.ResourceExhausted, Unreachable, "{what}: over quota", "wait a minute, then run the same command again"),
    (google.ServiceUnavailable, Unreachable, "{what}: no answer", "check the network, then run the same command again"),
    (
        google.DeadlineExceeded,
        Unreachable,
        "{what}: no answer in time",
        "check the network, then run the same command again",
    ),
    (
        google.InternalServerError,
        Unreachable,
        "{what}: the platform broke",
        "whether it was done is not known; run the same command again: it looks first",
    ),
    (
        google.Unknown,
        Unreachable,
        "{what}: the platform broke",
        "whether it was done is not known; run the same command again: it looks first",
    ),
    (google.RetryError, Unreachable, "{what}: no answer in time", "check the network, then run the same command again"),
    (auth.DefaultCredentialsError, NotSignedIn, "not signed in to Google Cloud", SIGN_IN),
    (auth.RefreshError, NotSignedIn, "the Google Cloud sign-in has expired", SIGN_IN),
    (auth.TransportError, Unreachable, "{what}: no answer", "check the network, then run the same command again"),
    (google.GoogleAPICallError, XgwError, "{what}: failed", "run the same command again: it looks first"),
)


@contextmanager
def as_ours(what: str) -> Iterator[None]:
    """Map every Google exception raised inside to an XgwError that says `what` was being done."""
    try:
        yield
    except tuple(foreign for foreign, *_ in _MEANING) as error:
        for foreign, ours, message, fix in _MEANING:
            if isinstance(error, foreign):
                cause = getattr(error, "message", "") or str(error)
                raise ours(
                    message.format(what=what), cause=str(cause).splitlines()[0] if cause else "", fix=fix
                ) from error
        raise


def patiently(call: Callable[[], T], *, tries: int = 4) -> T:
    """Call, and call again when the target did not answer, was over its quota, or broke: at most `tries` times, with
    jittered waits up to 2 s."""
    retrying = Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(tries),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    return retrying(call)
