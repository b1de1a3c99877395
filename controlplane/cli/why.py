"""`why`: what a tenant runs, what happened to it, what is next, who can act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import TABLE, Output

if TYPE_CHECKING:
    from rich.table import Table

    from .client import Client, Json

_HISTORY = 8


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(why)


def why(
    tenant: Annotated[str, typer.Argument(metavar="TENANT")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="So many lines of history.")] = _HISTORY,
    output: Output = TABLE,
) -> None:
    """What a tenant runs, what happened to it, what is next, and who can act."""
    from .client import connect
    from .output import show_one

    client = connect()
    answer = explain(client, tenant, limit)
    show_one(answer, output, name=tenant, table=lambda: print_why(answer, client.fleet))


def explain(client: Client, tenant: str, limit: int = _HISTORY) -> Json:
    """Collect the answer: status, history, and the newest rollout of the tenant, for callers who may see rollouts."""
    status = client.get(f"/v1/tenants/{tenant}/status")
    history = list(client.pages(f"/v1/tenants/{tenant}/history", most=limit))
    windows = client.get(f"/v1/tenants/{tenant}/windows", days=1) if _coming(status) else None
    return {"status": status, "windows": windows, "history": history, "rollouts": _rollouts_of(client, tenant)}


def _coming(status: Json) -> bool:
    """Whether a change of production is planned, so that its windows matter."""
    return any(one.get("next") and one["name"] == "production" for one in status["environments"])


def print_why(answer: Json, fleet: str) -> None:
    """Print it for people."""
    from rich.text import Text

    from .output import show_fields, stdout
    from .screens import blame_line
    from .tenant_screen import print_status

    print_status(answer["status"])
    windows = answer.get("windows")
    if windows and not windows["open"]:
        show_fields([("  window", f"closed: {windows['reason']}")])
    if answer["history"]:
        stdout().print(Text("  what happened, newest first", style="bold"))
        stdout().print(_history(answer["history"]))
    for view in answer["rollouts"]:
        told = view.get("explanation") or {}
        name = f"  rollout {view.get('release') or view['app']}"
        verdict = view.get("blame")
        show_fields(
            [
                (name, told.get("now")),
                ("  why", told.get("why")),
                ("  blame", blame_line(verdict, str(view["id"])) if verdict else None),
                ("  next", told.get("next")),
                ("  who can act", told.get("who")),
            ]
        )
    if fleet:
        stdout().print(Text.assemble("  fleet: ", (fleet, "bold magenta")))


def _history(items: list[Json]) -> Table:
    """What happened to the tenant, a line for each change."""
    from rich.table import Table

    from .look import change_of
    from .output import cell, when

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in items:
        data = one["data"]
        change = change_of(one["type"]).removeprefix("target-").replace("-", " ")
        facts = (
            f"wave {data['wave']}" if data.get("wave") else "",
            data.get("release") or "",
            data.get("reason") or "",
        )
        grid.add_row(f"    {when(one['at'])}", f"{one['kind']} {change}", cell(", ".join(filter(None, facts))))
    return grid


def _rollouts_of(client: Client, tenant: str) -> list[Json]:
    from .failures import ProblemError

    try:
        newest = list(client.pages("/v1/rollouts", most=1, tenant=tenant))
    except ProblemError as error:
        if error.status in (403, 404):  # a tenant's owner sees no rollouts; the status says what concerns the tenant
            return []
        raise
    return [client.get(f"/v1/rollouts/{one['id']}") for one in newest]
