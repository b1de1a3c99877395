"""`budget` and `breaker`: what may be touched at once, and what stops everything when too much is ill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Output, Reason, new_group

if TYPE_CHECKING:
    from .client import Json

budgets = new_group(
    "Budgets: what may be touched at once, and what is. Caps: `seawall apply` of kind limit, or strategies."
)
breaker = new_group("The breaker: when too much is ill, nothing forward starts.")

Name = Annotated[str, typer.Argument(metavar="[NAME]", help="fleet, or cluster:NAME.")]


@budgets.command("list")
def list_budgets(
    rollout: Annotated[
        str, typer.Option("--rollout", help="One rollout's own: its id, the end of one, or latest.")
    ] = "",
    output: Output = TABLE,
) -> None:
    """List budgets: what is taken of each, and its cap."""
    from .client import connect
    from .output import Column, column, show_list
    from .rollout import find

    client = connect()
    asked = {"rollout": find(client, rollout)} if rollout else {}
    columns = [
        column("SCOPE", "scope"),
        Column("TAKEN", lambda b: _plain(b["reserved"])),
        Column("CAP", lambda b: _plain(b["cap"]) if b["cap"] is not None else "-"),
        Column("", _stopped),
    ]
    show_list(client.pages("/v1/budgets", most=10_000, **asked), columns, output, name=lambda b: str(b["scope"]))


@breaker.command("show")
def show(output: Output = TABLE) -> None:
    """Show the breakers, why they opened, and what their rules count now."""
    from .client import connect
    from .output import show_one, stdout

    found = connect().get("/v1/breakers")
    show_one(found, output, name=found["items"][0]["state"], table=lambda: stdout().print(_screen(found)))


@breaker.command("reset")
def reset(
    name: Name = "fleet",
    reason: Reason = "",
    close: Annotated[bool, typer.Option("--close", help="Close it at once, without trying one target first.")] = False,
    output: Output = TABLE,
) -> None:
    """Let one target through, to try; it closes when that one is verified. --close lets everything through."""
    from .client import connect
    from .failures import UsageError
    from .output import say, show_one

    if not reason:
        raise UsageError("A reset needs a --reason: it opened for one.")
    body = {"to": "closed" if close else "halfOpen", "reason": reason}
    made = connect().post(f"/v1/breakers/{name}:reset", body)
    show_one(made, output, name=name, table=lambda: typer.echo(f"{made['name']} {made['state']}"))
    say("Forward work starts again." if close else "One target is let through; the breaker closes when it is verified.")


def _plain(amount: str) -> str:
    """`4.0000` as 4."""
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


def _stopped(budget: Json) -> str:
    words = ["frozen"] if budget["closed"] else []
    return ", ".join([*words, *([f"breaker {budget['breaker']}"] if budget["breaker"] != "closed" else [])])


def _screen(found: Json) -> Any:
    from rich.console import Group

    from .output import when
    from .screens import labelled

    lines = []
    for one in found["items"]:
        since = f" since {when(one['since'])}" if one["since"] else ""
        style = {"closed": "green", "open": "bold red"}.get(one["state"], "yellow")
        lines.append(labelled(one["name"], f"{one['state']}{since}", style))
        lines += [labelled("why", one["reason"])] if one["reason"] else []
        lines += (
            [labelled("probe", f"{one['probeTenant']}, rollout {one['probeRollout']}")] if one["probeTenant"] else []
        )
    ill, rules = found["unhealthy"], found["rules"]
    limit = f"; opens at {rules['unhealthy']} and {rules['atLeast']} tenants" if rules["unhealthy"] else ""
    lines.append(labelled("unhealthy", f"{ill['part']} of {ill['of']}{limit}"))
    if rules["failures"]:
        lines.append(
            labelled(
                "failures",
                f"{found['failed']}; opens at {rules['failures']['count']} within {rules['failures']['within']}",
            )
        )
    if rules["burn"]:
        lines.append(labelled("burn rate", f"{found['burnRate']}; opens at {rules['burn']['rate']}"))
    quiet = rules["quiet"] or "a person only: `seawall breaker reset --reason R`"
    lines.append(labelled("tries again", f"after {rules['quiet']}" if rules["quiet"] else quiet))
    return Group(*lines)
