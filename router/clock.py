"""The clock of the process. Whatever needs the time takes a clock, and this one where it is given none."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_now"]


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)
