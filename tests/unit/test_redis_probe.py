from __future__ import annotations

import pytest

from xgw.cloud.redis import RedisClient, RedisDoor
from xgw.errors import Unreachable
from xgw.probes.redis import by_instance


def test_clients_are_counted_by_instance_and_purpose_of_the_one_revision() -> None:
    names = [
        "r-1/shared/a",
        "r-1/shared/a",
        "r-1/limiter/a",
        "r-1/shared/b",
        "r-2/limiter/c",
        "",
        "r-1",
        "r-1/x",
        "other/x/y",
    ]
    found = by_instance([RedisClient(name) for name in names], "r-1")
    assert {instance: dict(purposes) for instance, purposes in found.items()} == {
        "a": {"shared": 2, "limiter": 1},
        "b": {"shared": 1},
    }


@pytest.mark.parametrize("address", ["", "127.0.0.1:1"])
def test_a_redis_that_cannot_be_asked_is_unreachable_and_not_zero_clients(address: str) -> None:
    with pytest.raises(Unreachable) as fault:
        RedisDoor(address).clients()
    assert "XGW_REDIS_ADDRESS" in fault.value.fix
