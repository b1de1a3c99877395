"""`drill`: restores that were tried."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from .options import TABLE, Environment, Output, new_group

group = new_group("Restore drills: a backup was restored somewhere, to see whether it can be.")
Tenant = Annotated[str, typer.Argument(metavar="TENANT")]


class Result(StrEnum):
    """How a drill ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


@group.command("report")
def report(
    tenant: Tenant,
    drill: Annotated[str, typer.Argument(metavar="ID", help="Your own name for it; the same again changes nothing.")],
    started: Annotated[str, typer.Option("--started", help="When it began, with its zone.")],
    ended: Annotated[str, typer.Option("--ended", help="When it was over; its age counts from then.")],
    result: Annotated[Result, typer.Option("--result", help="How it ended.", show_choices=True)],
    backup: Annotated[str, typer.Option("--backup", help="The backup that was restored, under its reported id.")] = "",
    note: Annotated[str, typer.Option("--note", help="For people: what was looked at, what went wrong.")] = "",
    environment: Environment = "production",
    output: Output = TABLE,
) -> None:
    """Report a restore drill; none ever changes."""
    from .client import connect
    from .output import show_fields, show_one, when

    body: dict[str, Any] = {"startedAt": started, "endedAt": ended, "result": result.value, "note": note}
    body |= {"backup": backup} if backup else {}
    path = f"/v1/tenants/{tenant}/environments/{environment}/restore-drills/{drill}"
    made = connect().put(path, body).json()

    def table() -> None:
        show_fields([("drill", made["id"]), ("result", made["result"]), ("ended", when(made["endedAt"]))])

    show_one(made, output, name=made["id"], table=table)


@group.command("list")
def list_drills(
    tenant: Tenant,
    environment: Environment = "production",
    output: Output = TABLE,
) -> None:
    """List a tenant's restore drills, newest first."""
    from .client import connect
    from .output import Column, column, show_list, when

    columns = [
        column("DRILL", "id"),
        column("RESULT", "result"),
        Column("ENDED", lambda d: when(d["endedAt"])),
        column("BACKUP", "backup"),
        column("BY", "reportedBy"),
        column("NOTE", "note"),
    ]
    path = f"/v1/tenants/{tenant}/environments/{environment}/restore-drills"
    show_list(connect().pages(path, most=100), columns, output, name=lambda d: str(d["id"]))
