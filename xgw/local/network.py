"""What an instance can reach by a private address: the one place where the plan's network stands in for a real one.

A revision's environment names Redis by the plan's private address, as it would on Cloud Run. No packet ever goes there:
when an instance is started, the address is replaced with the loopback port of the embedded Redis, or with one where
nobody listens. A revision without VPC access reaches no private address (plan 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xgw.local.instances import RevisionSpec
from xgw.plan.baseline import REDIS_ADDRESS

Network = Callable[[RevisionSpec], Mapping[str, str]]
"""The environment of an instance of a revision, as it can be used on this machine."""
NOWHERE = "127.0.0.1:1"
"""A privileged port that nothing listens on: connecting is refused at once."""


def with_redis(address: str) -> Network:
    """A network on which the plan's Redis address leads to `address`, "host:port" or "" when there is no Redis."""

    def reach(spec: RevisionSpec) -> Mapping[str, str]:
        there = address if address and spec.private else NOWHERE
        return {name: value.replace(REDIS_ADDRESS, there) for name, value in spec.env.items()}

    return reach
