"""How the embedded cloud says no: a status code of google.rpc by name, and a sentence. No grpc in here."""

from __future__ import annotations

from typing import Literal, NoReturn

Code = Literal[
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "UNIMPLEMENTED",
]


class Refusal(Exception):
    """A request that was looked at and not carried out. Nothing was changed."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> NoReturn:
    """Refuse a request whose fields are wrong in themselves."""
    raise Refusal("INVALID_ARGUMENT", message)
