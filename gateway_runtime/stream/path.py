"""Where the stream is. Clients give `path: "/api/xynergyos/v2/stream"` and ask for that with or without a last slash."""

from __future__ import annotations

PATH = "/api/xynergyos/v2/stream"
PATHS = (PATH, f"{PATH}/")
