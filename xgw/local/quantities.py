"""CPU and memory as Cloud Run writes them: Kubernetes quantities."""

from __future__ import annotations

import re
from decimal import Decimal

from xgw.local.refusal import invalid

MIB = 1024**2
GIB = 1024**3
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T|m)?")
_UNITS = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(1024),
    "Mi": Decimal(MIB),
    "Gi": Decimal(GIB),
    "Ti": Decimal(1024**4),
}


def _parse(text: str, field: str) -> Decimal:
    found = _QUANTITY.fullmatch(text)
    if not found:
        invalid(f"template.containers[0].resources.limits.{field}: {text!r} is not a quantity such as '512Mi' or '1'.")
    return Decimal(found[1]) * _UNITS[found[2]]


def memory_bytes(text: str) -> int:
    """ "512Mi" -> 536870912."""
    return int(_parse(text, "memory"))


def cpus(text: str) -> Decimal:
    """ "500m" -> 0.5."""
    return _parse(text, "cpu")


def show_memory(size: int) -> str:
    """536870912 -> "512Mi"."""
    return f"{size // GIB}Gi" if size % GIB == 0 else f"{size // MIB}Mi"
