"""`outcomes`: how changes turned out; `blame`: which of several changes broke something."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output

if TYPE_CHECKING:
    from rich.console import Group

    from .client import Json


class By(StrEnum):
    """What the groups are."""

    TENANT = "tenant"
    TIER = "tier"
    BRAND = "brand"
    APP = "app"
    MODULE = "module"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("outcomes")(outcomes)
    app.command("blame")(blame)


def outcomes(
    since: Annotated[str, typer.Option("--since", help="A span back from now (30d), or a time with its zone.")] = "30d",
    by: Annotated[By, typer.Option("--by", help="What the groups are.")] = By.TIER,
    output: Output = TABLE,
) -> None:
    """How changes turned out: failure rate, recovery, lead time, frequency, what gates stopped."""
    from .client import connect
    from .look import since_of
    from .output import show_one, stdout

    found = connect().get("/v1/outcomes", since=since_of(since), by=by.value)
    show_one(found, output, name="outcomes", table=lambda: stdout().print(outcomes_screen(found)))


def outcomes_screen(found: Json) -> Group:
    """The figures of the fleet and of each group, then gates, acts and notes. `-`: not measured."""
    from rich.console import Group
    from rich.table import Table

    head = (
        "",
        "changes",
        "per day",
        "failed",
        "lead p50/p90",
        "recovery p50/p90",
        "way back p50/p90/max",
        "not lost",
        "restorable",
        "stopped by gates",
        "by hand",
    )
    table = Table(*head, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for one in (found["fleet"], *found["groups"]):
        table.add_row(*_figures(one))
    gates = [f"{g['gate']} stopped {g['stopped']} of {g['stood']} rollouts ({g['share']:.0%})" for g in found["gates"]]
    acts = found["manualActionsPerRollout"]
    lines = [
        f"since     {found['since']}, {found['rollouts']} rollouts",
        *(f"gate      {line}" for line in gates),
        f"by hand   {'-' if acts is None else f'{acts:.1f}'} acts per rollout",
        f"drills    {_share(found['restoreDrills'])} of tenants were restored from a backup within 30 days",
        *(f"note      {note['detail']}" for note in found["notes"]),
    ]
    return Group(table, "", *lines)


def _figures(one: Json) -> list[str]:
    rate, money = one["changeFailureRate"], one["moneyNotLost"]
    return [
        one["name"],
        str(one["deployments"]),
        f"{one['perDay']:g}",
        "-" if rate is None else f"{one['failed']} ({rate:.1%})",
        _times(one["leadTime"]),
        _times(one["recoveryTime"]) + (f" +{one['unrecovered']} open" if one["unrecovered"] else ""),
        _times(one["rollbackTime"], "p50", "p90", "max"),
        "unknown" if money is None else f"{money['amount']} {money['currency']}",
        _share(one["restoreDrills"]),
        ", ".join(f"{g['gate']} {g['stopped']}/{g['stood']}" for g in one["gates"] if g["stopped"]) or "-",
        "-" if one["manualActionsPerRollout"] is None else f"{one['manualActionsPerRollout']:.1f}",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else format(value, ".0%")


def _times(spread: dict[str, Any] | None, *keys: str) -> str:
    return " / ".join(str(spread[key]) for key in keys or ("p50", "p90")) if spread else "-"


def blame(
    rollout: Annotated[
        str, typer.Argument(metavar="ID", help="A rollout's id, the end of one, or `latest`.")
    ] = "latest",
    output: Output = TABLE,
) -> None:
    """Which of the changes that overlapped made a rollout's tenants ill: the vote of now, and verdicts that were acted on."""
    from .client import connect
    from .output import show_one, stdout
    from .rollout import find

    client = connect()
    found = client.get(f"/v1/rollouts/{find(client, rollout)}/blame")
    show_one(found, output, name=found["rollout"], table=lambda: stdout().print(blame_screen(found)))


def blame_screen(found: Json) -> Group:
    """The verdict of now with each change's votes, then what earlier verdicts led to."""
    from rich.console import Group
    from rich.table import Table

    from .output import cell, when

    head = ("change", "score", "ill / reached", "explains", "1 h", "24 h", "72 h")
    table = Table(*head, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for vote in found["votes"]:
        windows = (f"{w['vote']:.2f}" for w in vote["windows"])
        ill = f"{vote['ill']} / {vote['tenants']}"
        table.add_row(cell(vote["what"]), f"{vote['score']:.3f}", ill, f"{vote['explains']:.0%}", *windows)
    more = () if found["complete"] else ("", "There was more than is read at once; the oldest was left out.")
    acted = [
        cell(f"{when(one['at'])}  {one['role']} ({one['act']}): {one['reason']} {one['why']}")
        for one in found.get("verdicts") or ()
    ]
    earlier = ("", "Verdicts while it ran, newest first", *acted) if acted else ()
    return Group(cell(f"{found['verdict']}: {found['reason']}"), "", table, *more, *earlier)
