"""Read-only looks at the Redis that the services share. The only file of `xgw` that imports redis-py."""

from __future__ import annotations

from dataclasses import dataclass

from xgw.errors import Unreachable

SECONDS = 2.0


@dataclass(frozen=True)
class RedisClient:
    """One connection, as Redis lists it: the name the client gave itself ("" for none)."""

    name: str


class RedisDoor:
    """`address` is "host:port", or "" where none is known."""

    def __init__(self, address: str) -> None:
        self.address = address

    def clients(self) -> list[RedisClient]:
        """Every connection there is now (CLIENT LIST), ours left out. Raises Unreachable."""
        if not self.address:
            raise Unreachable(
                "no Redis address is known for this target",
                fix="name it in xgw.toml: [redis] address, or XGW_REDIS_ADDRESS",
            )
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        host, _, port = self.address.rpartition(":")
        connection = redis.Redis(
            host,
            int(port),
            socket_timeout=SECONDS,
            socket_connect_timeout=SECONDS,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            client_name="xgw-probe",
        )
        try:
            listed = connection.client_list()
        except redis.RedisError as error:
            raise Unreachable(
                "Redis cannot be asked from here",
                cause=type(error).__name__,
                fix="run it from a machine inside the VPC, or set XGW_REDIS_ADDRESS",
            ) from error
        finally:
            connection.close()
        return [RedisClient(row.get("name", "")) for row in listed if row.get("name", "") != "xgw-probe"]
