"""The part of Google's filter language that is understood here: comparisons that must all hold.

`A=x AND B>=y` on one line or several; terms next to each other are joined by AND as well. OR, NOT, "-", parentheses,
functions and bare words are refused by name, so that a rehearsal never answers a question it did not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from xgw.local.refusal import Refusal, invalid
from xgw.local.stores import SEVERITIES, Comparison, LogFilter, LogRecord

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<op><=|>=|!=|=~|!~|=|<|>|:)|(?P<mark>[()\-,])|(?P<word>[^\s"=<>!:(),]+))"""
)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Term:
    """One comparison as it was written."""

    field: str
    op: str
    value: str


def parse(text: str) -> list[Term]:
    """The terms of a filter, in order."""
    tokens = list(_tokens(text))
    terms: list[Term] = []
    at = 0
    while at < len(tokens):
        kind, written = tokens[at]
        if kind == "word" and written == "AND" and terms and at + 1 < len(tokens):
            at += 1
            continue
        if kind != "word" or written in ("OR", "NOT", "AND"):
            unsupported(written)
        if at + 2 >= len(tokens) or tokens[at + 1][0] != "op" or tokens[at + 2][0] not in ("word", "string"):
            unsupported(written)
        if tokens[at + 1][1] in ("=~", "!~"):
            unsupported(tokens[at + 1][1])
        terms.append(Term(written, tokens[at + 1][1], tokens[at + 2][1]))
        at += 3
    return terms


def unsupported(what: str) -> NoReturn:
    """Refuse a part of a filter by name."""
    invalid(f"filter: {what!r} is not supported by the embedded cloud, which reads comparisons joined by AND.")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        found = _TOKEN.match(stripped, at)
        if not found:
            unsupported(stripped[at : at + 20])
        kind = found.lastgroup or ""
        token = found[kind]
        yield kind, _ESCAPE.sub(r"\1", token[1:-1]) if kind == "string" else token
        at = found.end()


def timestamp(text: str, field: str = "timestamp") -> datetime:
    """An RFC 3339 moment; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("INVALID_ARGUMENT", f"filter: {field} {text!r} is not an RFC 3339 time.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_LOG_OPERATORS: Mapping[str, tuple[str, ...]] = {
    "service_name": ("=",),
    "revision_name": ("=",),
    "timestamp": ("<", "<=", ">", ">=", "="),
    "severity": ("<", "<=", ">", ">=", "="),
    "textPayload": (":", "="),
}
_ALIASES = {
    f"resource.{labels}.{name}": name for labels in ("labels", "label") for name in ("service_name", "revision_name")
}


def log_filter(text: str) -> LogFilter | None:
    """A Cloud Logging filter. None when it asks for another resource type: nothing here can match."""
    comparisons: list[Comparison] = []
    for term in parse(text):
        if term.field == "resource.type" and term.op == "=":
            if term.value != "cloud_run_revision":
                return None
            continue
        field = _ALIASES.get(term.field, term.field)
        legal = ("=", ":") if field.startswith("jsonPayload.") else _LOG_OPERATORS.get(field)
        if legal is None or term.field in ("service_name", "revision_name"):
            unsupported(term.field)
        if term.op not in legal:
            unsupported(f"{term.field}{term.op}")
        value: str | datetime = term.value
        if field == "timestamp":
            value = timestamp(term.value)
        if field == "severity":
            value = term.value.upper()
            if value not in SEVERITIES:
                invalid(f"filter: severity {term.value!r} is none of {', '.join(SEVERITIES)}.")
        comparisons.append(Comparison(field, term.op, value))
    return tuple(comparisons)


def matches(record: LogRecord, filter: LogFilter) -> bool:
    """True when every term holds for the line. Text is compared without regard to case, as Cloud Logging does."""
    return all(_holds(record, comparison) for comparison in filter)


def _holds(record: LogRecord, term: Comparison) -> bool:
    if term.field == "timestamp":
        return isinstance(term.value, datetime) and _ordered(record.at, term.op, term.value)
    if term.field == "severity":
        return _ordered(SEVERITIES.get(record.severity, 0), term.op, SEVERITIES[str(term.value)])
    if term.field == "service_name":
        return record.service == term.value
    if term.field == "revision_name":
        return record.revision == term.value
    return _text_holds(_payload_value(record, term.field), term)


def _payload_value(record: LogRecord, field: str) -> object:
    if field == "textPayload":
        return record.payload if isinstance(record.payload, str) else None
    value: object = record.payload
    for part in field.split(".")[1:]:
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _text_holds(value: object, term: Comparison) -> bool:
    if value is None:
        return False
    if term.op == ":" and term.value == "*":
        return True
    shown = str(value).lower() if not isinstance(value, float) else f"{value:g}"
    wanted = str(term.value).lower()
    return wanted in shown if term.op == ":" else shown == wanted


def _ordered(left: datetime | int, op: str, right: datetime | int) -> bool:
    if isinstance(left, datetime) != isinstance(right, datetime):
        return False
    if op == "=":
        return left == right
    below = left < right  # type: ignore[operator]  # both are of one kind: checked above
    return {"<": below, "<=": below or left == right, ">": not below and left != right, ">=": not below}[op]
