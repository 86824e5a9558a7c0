"""One upstream with everything that protects it, and us from it: breaker, bulkhead, deadline, retry budget.

    breaker   may this call go at all?            no: 503 with Retry-After, at once
    bulkhead  is there a place for it?            no: a short wait, then the same
    client    one exchange within the deadline    failed before a byte came back: perhaps once more
    outcome   told to breaker and metrics, once

A call is a request: its retries belong to it, and its place is kept until the answer's last byte has gone out. Half open
asks a question with few calls, so those are not repeated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from gateway_runtime.errors import ClientGone, Problem, Shed
from gateway_runtime.metrics import Counter, Histogram, Metrics
from gateway_runtime.upstream.breaker import NONE, Breaker, Outcome, State
from gateway_runtime.upstream.bulkhead import Bulkhead
from gateway_runtime.upstream.client import Answer, Ask, Client, Expired, Watcher
from gateway_runtime.upstream.connection import Connection, Unanswered
from gateway_runtime.upstream.deadlines import Deadline
from gateway_runtime.upstream.retry import RetryBudget

NOT_COUNTED = frozenset((408, 425, 429))
"""4xx that speak of the moment and not of the request: they do not even show that an upstream is well."""


@dataclass(frozen=True)
class Meters:
    """The families all upstreams count in."""

    calls: Counter
    seconds: Histogram
    retries: Counter
    shed: Counter

    @classmethod
    def of(cls, metrics: Metrics) -> Meters:
        """Makes them."""
        return cls(
            metrics.counter(
                "gateway_upstream_requests_total", "Calls to an upstream that ended.", "upstream", "outcome"
            ),
            metrics.histogram("gateway_upstream_seconds", "From a call's start to its answer's head.", "upstream"),
            metrics.counter("gateway_upstream_retries_total", "Calls sent once more.", "upstream"),
            metrics.counter("gateway_upstream_shed_total", "Requests refused to protect it.", "upstream", "reason"),
        )


class Upstream:
    """See the module. `slow_after` is the share of a route's deadline after which a call counts as slow."""

    def __init__(
        self,
        name: str,
        client: Client,
        *,
        breaker: Breaker,
        bulkhead: Bulkhead,
        retries: RetryBudget,
        meters: Meters,
        slow_after: float = 0.5,
    ) -> None:
        self.name = name
        self.client = client
        self.breaker = breaker
        self.bulkhead = bulkhead
        self._retries = retries
        self._meters = meters
        self._slow_after = slow_after

    def check(self) -> None:
        """Shed when the breaker is open, before anything of the request's body is waited for."""
        if self.breaker.waiting:
            raise self._open()

    async def ask(self, ask: Ask, *, deadline: Deadline, watch: Watcher | None = None) -> Answer:
        """The answer, its head at least; the outcome is told when it is closed. Problem: as `Client.ask`, or Shed."""
        if deadline.left(monotonic()) <= 0:
            raise Expired("caller", "used up before the upstream was asked")
        permit = self._permit()
        if not self.bulkhead.enter():
            permit = await self._wait(permit, deadline, monotonic())
        began = monotonic()
        try:
            answer = await self._tries(ask, deadline, watch)
        except BaseException as fault:
            self.bulkhead.leave()
            word, outcome = judge(fault)
            now = monotonic()
            self._tell(permit, word, outcome, self._slow(now - began, deadline))
            raise
        headed = monotonic()
        self._meters.seconds.observe(headed - began, self.name)
        if not answer.whole and answer.is_stream and answer.status < 400:
            # It may last for hours, and has shown already that the upstream answers.
            self._tell(permit, "ok", Outcome.SUCCESS, self._slow(headed - answer.sent_at, deadline))
            answer.ended = self._stream_ended
        else:
            answer.ended = lambda connection: self._ended(permit, deadline, headed, connection)
        return answer

    async def _wait(self, permit: int, deadline: Deadline, now: float) -> int:
        try:
            await self.bulkhead.wait(deadline.left(now))
        except BaseException as fault:
            self.breaker.record(permit, Outcome.IGNORED)
            if isinstance(fault, Shed):
                if deadline.callers and deadline.left(monotonic()) <= 0:
                    raise Expired("caller", "the caller's own budget") from None
                self._meters.shed.add(self.name, "busy")
            raise
        if self.breaker.holds(permit):
            return permit
        try:
            return self._permit()  # the breaker has moved while this one waited for its place
        except Shed:
            self.bulkhead.leave()
            raise

    def _permit(self) -> int:
        permit = self.breaker.acquire()
        if permit is NONE:
            raise self._open()
        return permit

    def _open(self) -> Shed:
        self._meters.shed.add(self.name, "breaker")
        return Shed("the breaker is open", retry_after=self.breaker.retry_after)

    async def _tries(self, ask: Ask, deadline: Deadline, watch: Watcher | None) -> Answer:
        budget = self._retries
        budget.pay()
        attempt = 0
        while True:
            try:
                return await self.client.ask(ask, deadline=deadline, watch=watch)
            except Unanswered:
                if attempt >= budget.policy.tries or not ask.repeatable or self.breaker.state is not State.CLOSED:
                    raise
                pause = budget.pause(attempt)
                if deadline.left(monotonic()) <= pause or not budget.take():
                    raise
            attempt += 1
            self._meters.retries.add(self.name)
            await asyncio.sleep(pause)

    def _ended(self, permit: int, deadline: Deadline, headed: float, connection: Connection) -> None:
        """The exchange is over: as a whole, with a fault, or because nobody reads on."""
        self.bulkhead.leave()
        # A client that reads slowly makes the last byte late; then only the head's time is the upstream's.
        end = headed if connection.was_paused else connection.heard_at
        if connection.status >= 400:
            word, outcome = _answered(connection.status)
        elif connection.whole:
            word, outcome = "ok", Outcome.SUCCESS
        elif connection.fault is not None:
            self._sign(connection.fault)
            word, outcome = judge(connection.fault)
        else:
            word, outcome = "client_gone", Outcome.IGNORED
        self._tell(permit, word, outcome, self._slow(end - connection.sent_at, deadline))

    def _stream_ended(self, connection: Connection) -> None:
        self.bulkhead.leave()
        if connection.fault is not None:
            self._sign(connection.fault)

    def _sign(self, fault: BaseException) -> None:
        """Puts our name on a fault that comes up while the answer is on its way out, where nobody knows whose it is."""
        if isinstance(fault, Problem) and fault.status >= 500:
            fault.details.setdefault("upstream", self.name)

    def _slow(self, seconds: float, deadline: Deadline) -> bool:
        return deadline.allowed < math.inf and seconds >= deadline.allowed * self._slow_after

    def _tell(self, permit: int, word: str, outcome: Outcome, slow: bool) -> None:
        self._meters.calls.add(self.name, word)
        self.breaker.record(permit, outcome, slow=slow)


def _answered(status: int) -> tuple[str, Outcome]:
    if status >= 500:
        return "server_error", Outcome.FAILURE
    return "client_error", Outcome.IGNORED if status in NOT_COUNTED else Outcome.REFUSED


_FAULTS: Mapping[str, str] = {"GATEWAY_TIMEOUT": "timeout", "SERVICE_UNAVAILABLE": "no_connection"}


def judge(fault: BaseException) -> tuple[str, Outcome]:
    """What a fault says about the upstream: a word for the metrics, an outcome for the breaker."""
    if isinstance(fault, ClientGone | asyncio.CancelledError):
        return "client_gone", Outcome.IGNORED
    if isinstance(fault, Expired) and fault.blame == "caller":
        return "caller_timeout", Outcome.IGNORED
    if isinstance(fault, Problem):
        if fault.status < 500:  # the client's body was too large, or came wrong
            return "client_error", Outcome.IGNORED
        return _FAULTS.get(fault.code, "bad_answer"), Outcome.FAILURE
    return "fault", Outcome.IGNORED
