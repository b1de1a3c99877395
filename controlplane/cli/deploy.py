"""`deploy`: preview, confirm, watch."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import AcceptNoWayBack, Environment, NoWait, Reason, Selector, Timeout, Yes, seconds_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(deploy)


def deploy(
    release: Annotated[str, typer.Argument(metavar="APP/VERSION")],
    selector: Selector = "",
    strategy: Annotated[str, typer.Option("--strategy", "-s", help="A strategy's name, or careful@7.")] = "careful",
    environment: Environment = "production",
    reason: Reason = "",
    change_ref: Annotated[str, typer.Option("--change-ref", help="Number of the change in your ITSM.")] = "",
    accept_no_way_back: AcceptNoWayBack = "",
    emergency: Annotated[
        str, typer.Option("--emergency", metavar="CRITERION", help="Take the emergency lane; --reason says why.")
    ] = "",
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="In the emergency lane: a kind of gate to leave out, or window.")
    ] = None,
    pass_freeze: Annotated[
        list[str] | None, typer.Option("--pass-freeze", help="In the emergency lane: the id of a freeze to pass.")
    ] = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = "",
) -> None:
    """Show what would happen, ask, start exactly that, and follow it to its end."""
    from .client import connect
    from .output import say, stdout
    from .rollout import body_of
    from .screens import plan_screen, tenants
    from .watching import watch_rollout

    client = connect()
    seconds = seconds_of(timeout) if timeout else None
    body = body_of(release, selector, environment, strategy, reason=reason, changeRef=change_ref)
    body |= lane_of(emergency, reason, skip or [], pass_freeze or [])
    plan = client.post("/v1/rollouts:preview", body)
    stdout().print(plan_screen(plan, client.fleet))
    if not yes:
        typer.confirm(f"Start it on {tenants(plan['targets'])}?", abort=True, err=True)
    word = {"acceptNoWayBack": accept_no_way_back} if accept_no_way_back else {}
    made = client.post("/v1/rollouts", {**body, **word, "ifPlanHash": plan["planHash"]})
    if no_wait:
        say(f"Rollout {made['id']} is {made['state']}.")
        return
    raise typer.Exit(watch_rollout(client, str(made["id"]), timeout=seconds))


def lane_of(criterion: str, reason: str, skip: list[str], freezes: list[str]) -> dict[str, Any]:
    """The part of a body that takes the emergency lane; nothing without a criterion. Raises UsageError."""
    from .failures import UsageError

    if not criterion:
        if skip or freezes:
            raise UsageError("--skip and --pass-freeze go with --emergency.")
        return {}
    if not reason:
        raise UsageError("An emergency needs a --reason: somebody else looks at it afterwards.")
    return {"emergency": {"criterion": criterion, "reason": reason, "skip": skip, "freezes": freezes}}
