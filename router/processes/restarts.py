"""When a process that died is started again, and when that no longer helps."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["MAX_DEATHS", "WITHIN_S", "restart_delay"]

WITHIN_S = 60.0
"""Deaths that lie further back do not count."""
_DELAYS_S = (0.0, 0.5, 1.0, 2.0)
MAX_DEATHS = len(_DELAYS_S)
"""After so many within that time, one more is the last."""


def restart_delay(deaths: Sequence[float]) -> float | None:
    """Seconds until a process is started again; ``None``: it died too often, which a start will not mend.

    Args:
        deaths: when it died, seconds, ascending; the last one now.
    """
    recent = sum(deaths[-1] - death <= WITHIN_S for death in deaths)
    return _DELAYS_S[recent - 1] if recent <= len(_DELAYS_S) else None
