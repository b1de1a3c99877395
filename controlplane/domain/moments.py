"""Moments and spans as people say them."""

from __future__ import annotations

from datetime import UTC, datetime


def when(moment: datetime, now: datetime) -> str:
    """Say a moment: `3 min ago`, `in 2 h`; older or later than two days as a date."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) > 2 * 86400:
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
    span = spell(abs(seconds))
    return f"in {span}" if seconds > 0 else f"{span} ago"


def spell(seconds: float) -> str:
    """Say a span in one unit: `3.1 s`, `12 min`, `5 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
