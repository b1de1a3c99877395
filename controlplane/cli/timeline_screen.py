"""What `timeline` shows: lanes of marks and lines of signals under one axis, then each entry. Readable without colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from controlplane.domain.timeline_marks import LEGEND, MARKS, lane_of, mark_of

from .output import cell

if TYPE_CHECKING:
    from .client import Json

LABEL: Final = 26
"""Characters of a lane's name."""
TAIL: Final = 15
"""Characters behind a line, for its values."""
LEAST_AXIS: Final = 40
BLOCKS: Final = "▁▂▃▄▅▆▇█"
_TENANTS_SHOWN: Final = 3
_STYLES: Final = {"x": "bold red", "!": "bold red", "<": "yellow", "?": "yellow", "+": "green", ">": "cyan", "|": "dim"}


@dataclass(frozen=True, slots=True)
class Axis:
    """Columns of the screen from `since` until `until`."""

    since: datetime
    until: datetime
    width: int

    def column(self, at: datetime) -> int:
        """The column of a moment, within the axis."""
        share = (at - self.since) / (self.until - self.since)
        return max(0, min(self.width - 1, int(share * self.width)))

    def ticks(self) -> str:
        """Five times, each where it belongs."""
        line = [" "] * (self.width + 5)
        for n in range(5):
            at = self.since + (self.until - self.since) * n / 4
            start = min(round(n * self.width / 4), self.width - 5)
            line[start : start + 5] = f"{at:%H:%M}" if self.until - self.since <= timedelta(days=2) else f"{at:%m-%d}"
        return "".join(line).rstrip()


@dataclass(slots=True)
class Lane:
    """One thing's marks."""

    label: str
    marks: dict[int, str] = field(default_factory=dict)

    def text(self, width: int) -> Text:
        """The lane as it is drawn."""
        line = Text()
        for n in range(width):
            mark = self.marks.get(n, "·")
            line.append(mark, style=_STYLES.get(mark, "dim"))
        return line


def timeline_screen(found: Json, width: int) -> Group:
    """Everything on one axis, at most `width` characters wide."""
    since, until = moment(found["since"]), moment(found["until"])
    axis = Axis(since, until, max(LEAST_AXIS, width - LABEL - TAIL - 2))
    items = list(reversed(found["items"]))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=LABEL, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=axis.width, no_wrap=True)
    grid.add_column(width=TAIL, no_wrap=True)
    grid.add_row("", Text(axis.ticks(), style="bold"), Text("UTC", style="dim"))
    for lane in lanes(items, axis):
        grid.add_row(Text(lane.label), lane.text(axis.width), "")
    for signal in found["signals"]:
        for label, line, tail in signal_lines(signal, axis):
            grid.add_row(Text(label), line, Text(tail, style="dim"))
    whose = f"tenant {found['tenant']}" if found["tenant"] else "the fleet"
    head = Text(f"{whose}, {since:%Y-%m-%d %H:%M} until {until:%Y-%m-%d %H:%M} UTC", style="bold")
    return Group(head, "", grid, Text(LEGEND, style="dim"), "", _entries(items, until - since), *_ends(found))


def moment(text: str) -> datetime:
    """Read a time."""
    return datetime.fromisoformat(text)


def lanes(items: Iterable[Json], axis: Axis) -> list[Lane]:
    """A lane for each rollout (with its gates), each calendar, and each other kind of thing, in the order of their first mark."""
    found: dict[str, Lane] = {}
    for item in items:
        key, label = lane_of(item["role"], item["kind"], item["id"], item["what"])
        lane = found.setdefault(key, Lane(label))
        at = axis.column(moment(item["at"]))
        if item["role"] == "window":
            _draw_window(lane, at, axis.column(moment(item["until"])))
        else:
            mark = mark_of(item["change"])
            lane.marks[at] = min(mark, lane.marks.get(at, mark), key=MARKS.index)
    return list(found.values())


def _draw_window(lane: Lane, start: int, end: int) -> None:
    for n in range(start, end + 1):
        lane.marks[n] = "="
    lane.marks[start] = "["
    if end > start:
        lane.marks[end] = "]"


def signal_lines(signal: Json, axis: Axis) -> list[tuple[str, Text, str]]:
    """A line for each series: its name, its course (nothing where nothing was measured), and its worst value."""
    if signal["state"] == "unknown":
        return [(signal["name"], Text(f"unknown: {signal['reason']}"[: axis.width], style="yellow"), "")]
    return [_line(signal, one, axis) for one in signal["series"]]


def _line(signal: Json, series: Json, axis: Axis) -> tuple[str, Text, str]:
    high = signal["max"] is not None
    limit = float(signal["max"] if high else signal["min"])
    worst: dict[int, float] = {}
    for at, value in series["points"]:
        column = axis.column(moment(at))
        worst[column] = (max if high else min)(value, worst.get(column, value))
    top = max([*worst.values(), limit if high else 0.0])
    line = Text()
    for n in range(axis.width):
        bad = n in worst and (worst[n] > limit if high else worst[n] < limit)
        line.append(_block(worst[n], top) if n in worst else " ", style="red" if bad else "")
    extreme = (max if high else min)(worst.values())
    broken = (extreme > limit) if high else (extreme < limit)
    tail = f"{'max' if high else 'min'} {extreme:.3g}{' BAD' if broken else ''}"
    label = f"{signal['name']} {series['tenant'] or ''}".strip()
    return label, line, tail


def _block(value: float, top: float) -> str:
    return BLOCKS[0] if top <= 0 or value <= 0 else BLOCKS[min(7, round(value / top * 7))]


def _entries(items: Sequence[Json], span: timedelta) -> Table:
    """Each entry, oldest first; the same change of one thing for many tenants in a row is one line."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("WHEN", "", "WHAT", "CHANGE", "WHY"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("WHEN", ""))
    form = "%H:%M:%S" if span <= timedelta(hours=12) else "%m-%d %H:%M"
    for _, group in groupby(items, key=lambda i: (i["kind"], i["id"], i["change"], i["reason"])):
        table.add_row(*_entry(list(group), form))
    return table


def _entry(group: Sequence[Json], form: str) -> list[Any]:
    first = group[0]
    mark = "=" if first["role"] == "window" else mark_of(first["change"])
    what = str(first["what"]).replace(" in production", "")
    if len(group) > 1:
        names = [one["tenant"] for one in group if one["tenant"]]
        more = f" and {len(names) - _TENANTS_SHOWN} more" if len(names) > _TENANTS_SHOWN else ""
        whom = f": {', '.join(names[:_TENANTS_SHOWN])}{more}" if names else ""
        what = f"{what.partition(', tenant ')[0]}, {len(group)} x{whom}"
    at = moment(first["at"]).strftime(form)
    return [at, Text(mark, style=_STYLES.get(mark, "")), cell(what), cell(first["change"]), cell(first["reason"])]


def _ends(found: Json) -> list[Text]:
    """What is missing."""
    lines = [Text(f"missing   {note['detail']}", style="yellow") for note in found["notes"]]
    lines += [
        Text(f"missing   {one['name']}: {one['reason']}", style="yellow")
        for one in found["signals"]
        if one["state"] == "unknown"
    ]
    if not found["complete"] and not lines:
        lines.append(Text("missing   older entries: give a larger --limit or a later --since", style="yellow"))
    return lines
