"""A rollback of a service that dies while it marks the steps that went with it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.contract.engine.test_rollback import roll_back, serving
from tests.helpers.engine import Engine
from xgw import rollback
from xgw.errors import Conflict
from xgw.ledger import Ledger
from xgw.plan.model import GATEWAY


class Died(Exception):
    """The process is gone."""


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_whatever_it_had_marked_by_then_nothing_ends_its_pin(engine: Engine, monkeypatch: pytest.MonkeyPatch, nth: int):
    first = serving(engine)
    engine.apply(only=["1.1"])
    append, marked = Ledger.append, []

    def dying(ledger: Ledger, kind: str, **record: object) -> object:
        if kind in ("undone", "reverting", "reverted"):
            marked.append(kind)
            if len(marked) == nth:
                raise Died
        return append(ledger, kind, **record)

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append", dying)
        with pytest.raises(Died):
            roll_back(engine)
    assert serving(engine) == first
    for verb in (lambda: engine.apply(only=["1.1"]), engine.revert):
        with suppress(Conflict):
            verb()
        assert engine.traffic()[GATEWAY] == [(first, 100, "")]
    assert rollback.pins(engine.ledger(), engine.target) == {GATEWAY: first}
