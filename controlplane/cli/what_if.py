"""What `rollout simulate` shows: how runs end, when, and the curve of what is at stake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .client import Json

BLOCKS = " ▁▂▃▄▅▆▇█"


def what_if_screen(found: Json, fleet: str) -> Group:
    """A table of ends, the times, three curves, and what is assumed."""
    head = f"{found['targets']} targets, {found['runs']} runs, seed {found['seed']}, {found['failureRate']:.1%} of targets fail"
    ends = Table("ends", "stopped by", "share", box=None, pad_edge=False)
    for end in found["ends"]:
        ends.add_row(end["outcome"], end["stoppedBy"] or "-", f"{end['share']:.0%}")
    finish = found["finish"]
    lines = [
        f"over      p50 {finish['p50']}, p90 {finish['p90']}, so by {finish['by']}",
        f"go back   p50 {found['goneBack'][0]:g}, p90 {found['goneBack'][1]:g} targets",
    ]
    curves = Table("at stake (p90)", "", "most", box=None, pad_edge=False)
    for title, key in (("in flight", "inFlight"), ("unverified", "unverified"), ("orders per hour", "ordersPerHour")):
        values = [float(point[key][1]) for point in found["curve"]]
        curves.add_row(title, sparkline(values), f"{max(values):g}")
    span = found["curve"][-1]["after"] if found["curve"] else "PT0S"
    notes = [f"assumed   {note['detail']}" for note in found["assumptions"]]
    headline = Text.assemble((head, "bold"), f"      fleet: {fleet}")
    return Group(headline, "", ends, "", *lines, "", curves, f"          from the start to {span} after it", "", *notes)


def sparkline(values: Sequence[float]) -> str:
    """One character per value, its height in eighths of the largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[_eighths(value, top)] for value in values)


def _eighths(value: float, top: float) -> int:
    return 0 if value <= 0 else max(1, round(8 * value / top))
