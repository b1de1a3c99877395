"""`emergency`: what took the emergency lane, and the look at it afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import TABLE, Output, new_group

group = new_group("Changes that took the emergency lane, and the look at each afterwards.")
Id = Annotated[str, typer.Argument(metavar="ID", help="The rollout's id, the end of one, or `latest`.")]


@group.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Those somebody looked at, too.")] = False,
    output: Output = TABLE,
) -> None:
    """List those nobody looked at yet, newest first."""
    from .client import connect
    from .output import Column, column, short_id, show_list, when

    columns = [
        Column("ROLLOUT", lambda e: short_id(e["rollout"])),
        column("RELEASE", "release"),
        column("TENANTS", "targets"),
        column("CRITERION", "criterion"),
        column("BY", "person"),
        column("STATE", "state"),
        Column("LOOK BY", lambda e: when(e["reviewBy"])),
        column("REASON", "reason"),
    ]
    found = connect().pages("/v1/emergencies", state=None if everything else "open")
    show_list(found, columns, output, name=lambda e: str(e["rollout"]))


@group.command("review")
def review(
    rollout: Id,
    note: Annotated[str, typer.Option("--note", help="What you found.")],
    justified: Annotated[bool, typer.Option("--justified/--not-justified", help="Whether it had to be.")],
    output: Output = TABLE,
) -> None:
    """Say what a look at one found, which closes it. Never your own."""
    from .client import connect
    from .output import say, show_one
    from .rollout import find

    client = connect()
    body = {"finding": "justified" if justified else "not-justified", "note": note}
    found = client.post(f"/v1/emergencies/{find(client, rollout)}:review", body)
    show_one(found, output, name=str(found["rollout"]), table=lambda: typer.echo(found["finding"]))
    say(f"Reviewed: {found['finding']}.")
