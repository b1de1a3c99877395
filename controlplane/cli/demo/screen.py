"""What the demo prints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from controlplane.cli.look import change_of
from controlplane.cli.output import stdout
from controlplane.cli.screens import rollout_screen
from controlplane.domain.moments import spell

from .scene import BROKEN
from .story import Rolled, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from controlplane.cli.client import Json


def chapter(title: str) -> None:
    """Print the heading of a step."""
    from rich.text import Text

    stdout().print()
    stdout().print(Text(title, style="bold"))


def line(text: str, style: str = "") -> None:
    """Print an indented line."""
    from rich.text import Text

    stdout().print(Text(f"  {text}", style=style))


def labelled(label: str, text: str, style: str = "") -> None:
    """Print a line of a rollout's summary, aligned with those of its screen."""
    from controlplane.cli.screens import labelled as make

    stdout().print(make(label, text, style))


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """A line that is written over on a terminal, and not written elsewhere."""
    from rich.live import Live
    from rich.text import Text

    if not stdout().is_terminal:
        yield lambda _: None
        return
    with Live(console=stdout(), refresh_per_second=8, transient=True) as live:
        yield lambda text: live.update(Text(f"  {text}", style="dim"))


@contextmanager
def live_rollout(fleet: str) -> Iterator[Callable[[Json], None]]:
    """A rollout's screen, redrawn on a terminal; elsewhere printed once, at its end."""
    from rich.live import Live

    last: list[Json] = []
    if not stdout().is_terminal:
        yield lambda view: last.__setitem__(slice(None), [view])
        if last:
            stdout().print(rollout_screen(last[0], fleet))
        return
    with Live(console=stdout(), refresh_per_second=8) as live:
        yield lambda view: live.update(rollout_screen(view, fleet), refresh=True)


def what_broke(run: Rolled) -> None:
    """Print why tenants failed, that they went back, and how long that took."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for target in run.targets:
        if target["state"] in ("rolledBack", "stuck"):
            by_reason[target["reason"]].append(target["tenant"])
    for reason, names in sorted(by_reason.items()):
        labelled("broke", f"{', '.join(sorted(names))}: {reason}", "red")
    if seconds := way_back_seconds(run.history):
        labelled(
            "way back",
            f"{len(seconds)} tenants on their last good revision again, {spell(max(seconds))} after the failure",
            "green",
        )
    untouched = sum(1 for t in run.targets if not t["startedAt"])
    labelled("untouched", f"{untouched} tenants never saw it", "green")


def way_back_seconds(history: Sequence[Json]) -> list[float]:
    """How long each tenant that went back needed, from its failure to its last good revision, by the rollout's history."""
    failed: dict[str, datetime] = {}
    found = []
    for event in history:
        at, change, tenant = datetime.fromisoformat(event["time"]), change_of(event["type"]), event["tenant"]
        if change == "target-failed":
            failed[tenant] = at
        elif change == "target-rolled-back" and tenant in failed:
            found.append((at - failed[tenant]).total_seconds())
    return found


def who_runs_what(standings: Sequence[Standing]) -> None:
    """Print what each tenant runs now, by version."""
    by_version: defaultdict[str, list[str]] = defaultdict(list)
    for one in standings:
        by_version[str(one.version)].append(one.tenant)
    for version in sorted(by_version, reverse=True):
        _names(version, sorted(by_version[version]))


def _names(version: str, names: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, width=26)
    grid.add_column(overflow="fold")
    text = Text()
    for number, name in enumerate(names):
        text.append(", " if number else "").append(name, style="bold red" if name in BROKEN else "")
    grid.add_row(f"  odoo/{version}  {len(names):>2} tenants", text)
    stdout().print(grid)


def wrong(sentences: Sequence[str]) -> None:
    """Print what was not as promised."""
    from rich.text import Text

    stdout().print()
    for sentence in sentences:
        stdout().print(Text(f"NOT AS PROMISED: {sentence}", style="bold red"))


def commands(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print labelled lines."""
    from rich.table import Table

    chapter(title)
    grid: Any = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(f"  {label}", text)
    stdout().print(grid)
