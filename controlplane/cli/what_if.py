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
ROWS = 6
"""Lines of the chart."""


def what_if_screen(found: Json, fleet: str) -> Group:
    """A table of ends, each gate's chance, the times, curves of what is at stake, and what is assumed."""
    head = f"{found['targets']} targets, {found['runs']} runs, seed {found['seed']}, {found['failureRate']:.1%} of targets fail"
    head += f", clustered {found['clustering']:.2f}" if found["clustering"] else ""
    ends = Table("ends", "stopped by", "share", box=None, pad_edge=False)
    for end in found["ends"]:
        ends.add_row(end["outcome"], end["stoppedBy"] or "-", f"{end['share']:.0%}")
    finish = found["finish"]
    lines = [
        f"over      p50 {finish['p50']}, p90 {finish['p90']}, so by {finish['by']}",
        f"go back   p50 {found['goneBack'][0]:g}, p90 {found['goneBack'][1]:g} targets",
    ]
    curves = Table("at stake (p90)", "", "most", box=None, pad_edge=False)
    for title, key in (("in flight", "inFlight"), ("unverified", "unverified")):
        values = [float(point[key][1]) for point in found["curve"]]
        curves.add_row(title, sparkline(values), f"{max(values):g}")
    orders = [(float(low), float(high)) for low, high in (point["ordersPerHour"] for point in found["curve"])]
    span = found["curve"][-1]["after"] if found["curve"] else "PT0S"
    notes = [f"assumed   {note['detail']}" for note in found["assumptions"]]
    headline = Text.assemble((head, "bold"), f"      fleet: {fleet}")
    drawn = chart(orders, f"until {span} after the start")
    return Group(
        headline,
        "",
        ends,
        *gate_chances(found["gates"]),
        "",
        *lines,
        "",
        curves,
        "",
        "orders per hour at stake",
        *drawn,
        "",
        *notes,
    )


def gate_chances(gates: Sequence[Json]) -> list[Table | str]:
    """A line for each gate that stops it now and then, and how many never do."""
    if not gates:
        return []
    table = Table("gate", "wave", "place", "stops it", box=None, pad_edge=False)
    stops = [gate for gate in gates if gate["share"] > 0]
    for gate in stops:
        number = f" {gate['index'] + 1}" if gate["index"] else ""
        table.add_row(f"{gate['gate']}{number}", gate["wave"], gate["place"], f"{gate['share']:.0%} of runs")
    quiet = sorted({gate["gate"] for gate in gates} - {gate["gate"] for gate in stops})
    rest = len(gates) - len(stops)
    named = f" ({', '.join(quiet)})" if quiet else ""
    said = [f"gate      {rest} of {len(gates)} gates stop it in no run{named}"] if rest else []
    return ["", *([table] if stops else []), *said]


def chart(values: Sequence[tuple[float, float]], until: str, rows: int = ROWS) -> list[Text]:
    """Median and 90th percentile over time, as columns of some height over an axis: `#` up to the median, `:` from there to the 90th."""
    top = max((high for _, high in values), default=0.0)
    if top <= 0:
        return [Text("  none")]
    lines = []
    for row in range(rows, 0, -1):
        least = (row - 0.5) * top / rows
        marks = "".join("#" if low >= least else ":" if high >= least else " " for low, high in values)
        label = f"{top:g}" if row == rows else ""
        lines.append(Text(f"{label:>9} |{marks}"))
    lines.append(Text(f"{'0':>9} +{'-' * len(values)}"))
    lines.append(Text(f"{'':>11}start{until:>{max(len(values) - 5, len(until) + 1)}}"))
    lines.append(Text(f"{'':>11}# median of the runs   : 90th percentile", style="dim"))
    return lines


def sparkline(values: Sequence[float]) -> str:
    """One character per value, its height in eighths of the largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[_eighths(value, top)] for value in values)


def _eighths(value: float, top: float) -> int:
    return 0 if value <= 0 else max(1, round(8 * value / top))
