"""`python -m gateway_runtime.cache.purge`: every instance forgets what it stored, of everything, a tenant, or a collection.

Reads REDIS_URL, ENVIRONMENT and K_SERVICE as the gateway does. Exit codes: 0 done, 1 Redis could not be reached, 2 an
argument or a setting is wrong. Without Redis there is nothing to tell: a process forgets when it ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from gateway_runtime import settings as configuration
from gateway_runtime.cache.store import EVERYTHING, Collection, Store
from gateway_runtime.shared.client import Shared

HELP = """\
Examples:
  REDIS_URL=redis://10.0.0.3:6379 python -m gateway_runtime.cache.purge --tenant acme
  REDIS_URL=redis://10.0.0.3:6379 python -m gateway_runtime.cache.purge --tenant acme --collection /api/v2/crm/contacts

Makes every instance of the gateway forget stored answers, at once.

  --all              of everybody
  --tenant TENANT    of one tenant
  --collection PATH  of that tenant's collection only
"""


def main(arguments: Sequence[str]) -> int:
    """Purges; returns the exit code."""
    if list(arguments) in (["--help"], ["-h"]):
        sys.stdout.write(HELP)
        return 0
    what = _wanted(list(arguments))
    if what is None:
        sys.stderr.write("purge: say --all, or --tenant TENANT [--collection PATH]; see --help\n")
        return 2
    try:
        settings = configuration.read(os.environ)
    except configuration.SettingsFault as fault:
        sys.stderr.write(f"purge: {fault}\n")
        return 2
    if not settings.redis_url:
        sys.stderr.write("purge: REDIS_URL is not set: there is no shared cache\n")
        return 2
    if asyncio.run(_purge(settings, what)):
        return 0
    sys.stderr.write("purge: Redis could not be reached; nothing was purged\n")
    return 1


def _wanted(arguments: list[str]) -> Collection | None:
    match arguments:
        case ["--all"]:
            return EVERYTHING
        case ["--tenant", tenant] if tenant:
            return Collection(tenant.encode(), "")
        case ["--tenant", tenant, "--collection", path] if tenant and path.startswith("/"):
            return Collection(tenant.encode(), path.rstrip("/"))
    return None


async def _purge(settings: configuration.Settings, what: Collection) -> bool:
    shared = Shared(settings.redis_url, wait=1.0, service=settings.k_service or settings.role, name="purge")
    store = Store(shared, space=settings.environment.encode(), memory=1, entry_limit=1, trust=0.0)
    await shared.start()
    try:
        for _ in range(100):
            if shared.mode == "ok":
                await store.invalidate(what)
                return not store.alone
            await asyncio.sleep(0.02)
        return False
    finally:
        await shared.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
