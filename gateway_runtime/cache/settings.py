"""The settings of the cache: their rows in the table."""

from __future__ import annotations

from gateway_runtime.cache.policy import Policies
from gateway_runtime.setting_types import Setting, number, one_of, whole

ROWS: tuple[Setting, ...] = (
    Setting("CACHE", one_of("on", "off"), "on off", "Whether answers are stored at all."),
    Setting(
        "CACHE_ROUTES",
        Policies.parse,
        "comma list of rows",
        "Rows like `/api/v2/crm/contacts ttl=30 scope=tenant stale=30 error=300`: how long answers below a path live that "
        "say nothing about it themselves, whom they serve (`user` or `tenant`), and how many seconds past that they may be "
        "given out while a new one is fetched, or because the upstream failed. Unset: only what an upstream's "
        "Cache-Control allows.",
    ),
    Setting("CACHE_MEMORY", whole(1, 1024), "1..1024 MiB", "What the tier in the process may hold."),
    Setting("CACHE_ENTRY_LIMIT", whole(1, 10240), "1..10240 KiB", "The largest body that is stored."),
    Setting("CACHE_LONGEST", number(1, 86400), "1..86400 s", "No answer lives longer, whatever the upstream said."),
    Setting(
        "CACHE_TRUST",
        number(0, 1000),
        "0..1000 ms",
        "How long an instance believes what Redis told it about the writes of others: after a write it may give out an older "
        "answer for so long, never longer.",
    ),
)
