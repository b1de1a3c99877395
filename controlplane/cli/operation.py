"""`operation`: the status monitors of long work."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import TABLE, NoWait, Output, Reason, Timeout, new_group, seconds_of

group = new_group("Operations: long work that is not a rollout, such as onboarding or a change of tier.")
Id = Annotated[str, typer.Argument(metavar="ID")]


@group.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many lines at most.")] = 20,
    output: Output = TABLE,
) -> None:
    """List operations, newest first."""
    from .client import connect
    from .output import Column, column, show_list, when

    columns = [
        column("ID", "id"),
        column("KIND", "kind"),
        column("TENANT", "tenant"),
        column("STATE", "state"),
        Column("ACCEPTED", lambda o: when(o["createdAt"])),
        Column("WAITS FOR", _waits),
    ]
    show_list(connect().pages("/v1/operations", most=limit), columns, output, name=lambda o: str(o["id"]))


@group.command("show")
def show(operation: Id, output: Output = TABLE) -> None:
    """Show where an operation stands, and what it waits for."""
    from .client import connect
    from .output import say, show_one

    item = connect().get(f"/v1/operations/{operation}")

    def table() -> None:
        typer.echo(f"{item['kind']} {item.get('tenant') or ''}  {item['state']}")
        typer.echo("items: " + ", ".join(f"{n} {state}" for state, n in item["items"].items()))
        if _waits(item):
            typer.echo(f"waits for {_waits(item)}")
        if item.get("problem"):
            say(item["problem"].get("detail", ""))

    show_one(item, output, name=operation, table=table)


@group.command("cancel")
def cancel(operation: Id, reason: Reason = "", no_wait: NoWait = False, timeout: Timeout = "") -> None:
    """Call an operation off: nothing more of it starts, what is done stays, what it holds is given back."""
    from .client import connect
    from .failures import ProblemError
    from .output import say
    from .watching import wait_operation

    client = connect()
    answer = client.post(f"/v1/operations/{operation}:cancel", {"reason": reason})
    if not no_wait:
        try:
            wait_operation(client, answer, timeout=seconds_of(timeout) if timeout else None)
        except ProblemError:
            if client.get(f"/v1/operations/{operation}")["state"] != "cancelled":
                raise
    say(f"Operation {operation} is {'being ' if no_wait else ''}cancelled.")


def _waits(item: dict[str, Any]) -> str:
    waiting = item.get("waitingFor") or []
    return f"{waiting[0]['gate']}: {waiting[0]['reason']}" if waiting else ""
