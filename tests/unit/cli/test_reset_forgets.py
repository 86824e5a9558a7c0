from __future__ import annotations

from contextlib import closing

from xgw.ledger import Ledger
from xgw.rollback import forget

TARGET = "projects/xgw-local/locations/us-central1"


def test_what_stood_on_a_target_that_was_thrown_away_is_marked_as_gone(tmp_path):
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        for step, kinds in {"1.1": ("applied",), "1.2": ("reverting",), "1.3": ("reverting", "reverted")}.items():
            attempt = ledger.append("intended", target=TARGET, run=1, step=step, body={"deltas": []}).attempt
            for kind in kinds:
                ledger.append(kind, target=TARGET, run=1, attempt=attempt, step=step)
        assert forget(ledger, TARGET, "reset") == 2
        assert {attempt.state for attempt in ledger.attempts(TARGET)} == {"reverted"}
        assert forget(ledger, TARGET, "reset") == 0
