"""What a token costs: `python -m benchmarks.token_checks`. CPU time of one core, so that a busy machine disturbs it little."""

from __future__ import annotations

import asyncio
import statistics
import time

from tests.helpers.tokens import issuer
from tests.helpers.verifying import verifier

ROUNDS, CHECKS, LOOKUPS = 15, 300, 5000


async def measure() -> tuple[float, float, int]:
    """Microseconds of one check and of one remembered token, medians; and the token's bytes."""
    token = issuer().token().encode()
    forgetful, remembering = verifier(room=0), verifier()
    for one in (forgetful, remembering):
        await one.verify(token)
    checked, remembered = [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CHECKS):
            await forgetful.verify(token)
        between = time.process_time()
        for _ in range(LOOKUPS):
            remembering.remembered(token)
        checked.append((between - began) / CHECKS)
        remembered.append((time.process_time() - between) / LOOKUPS)
    return statistics.median(checked) * 1e6, statistics.median(remembered) * 1e6, len(token)


if __name__ == "__main__":
    one, again, size = asyncio.run(measure())
    print(f"token of {size} bytes: one check {one:.1f} us, remembered {again:.2f} us")
