"""`rollout`: a change of many tenants, in waves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    TABLE,
    AcceptNoWayBack,
    Environment,
    NoWait,
    Output,
    Reason,
    Selector,
    Timeout,
    new_group,
    seconds_of,
)

if TYPE_CHECKING:
    from .client import Client, Json

group = new_group("Rollouts: changes of many tenants, in waves.")
Id = Annotated[str, typer.Argument(metavar="ID", help="A rollout's id, the end of one, or `latest`.")]
Strategy = Annotated[str, typer.Option("--strategy", "-s", help="A strategy's name, or careful@7.")]
Kind = Annotated[str, typer.Option("--kind", help="deploy, rollback or values.")]
App = Annotated[str, typer.Option("--app", help="For rollback and values without a release.")]
To = Annotated[str, typer.Option("--to", help="For a rollback: lastVerified, or a revision's number.")]
ChangeRef = Annotated[str, typer.Option("--change-ref", help="Number of the change in your ITSM.")]
NotBefore = Annotated[str, typer.Option("--not-before", help="A time with its zone.")]
Release = Annotated[str, typer.Argument(metavar="[APP/VERSION]", help="The release; for start also the id of a draft.")]
_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@group.command("preview")
def preview(
    release: Release = "",
    strategy: Strategy = "careful",
    selector: Selector = "",
    environment: Environment = "production",
    kind: Kind = "deploy",
    app: App = "",
    to: To = "",
    output: Output = TABLE,
) -> None:
    """Plan without starting: who, in which order, at what stake, and how each goes back."""
    from .client import connect
    from .output import show_one, stdout
    from .screens import plan_screen

    client = connect()
    plan = client.post(
        "/v1/rollouts:preview", body_of(release, selector, environment, strategy, kind=kind, app=app, to=to)
    )
    show_one(plan, output, name=plan["planHash"], table=lambda: stdout().print(plan_screen(plan, client.fleet)))


@group.command("simulate")
def simulate(
    release: Release = "",
    strategy: Strategy = "careful",
    selector: Selector = "",
    environment: Environment = "production",
    kind: Kind = "deploy",
    app: App = "",
    to: To = "",
    runs: Annotated[int, typer.Option("--runs", min=1, max=1000, help="So many runs.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same answer.")] = 1,
    failure_rate: Annotated[
        float, typer.Option("--failure-rate", min=-1, max=1, help="Probability that a target fails; else as recorded.")
    ] = -1,
    output: Output = TABLE,
) -> None:
    """Play a rollout many times without starting it: when it ends, what stops it, what is at stake when."""
    from .client import connect
    from .output import show_one, stdout
    from .what_if import what_if_screen

    client = connect()
    body = body_of(release, selector, environment, strategy, kind=kind, app=app, to=to)
    rate = {"failureRate": failure_rate} if failure_rate >= 0 else {}
    found = client.post("/v1/rollouts:simulate", {**body, "runs": runs, "seed": seed, **rate})
    show_one(found, output, name=found["planHash"], table=lambda: stdout().print(what_if_screen(found, client.fleet)))


@group.command("start")
def start(
    release: Release = "",
    strategy: Strategy = "careful",
    selector: Selector = "",
    environment: Environment = "production",
    kind: Kind = "deploy",
    app: App = "",
    to: To = "",
    reason: Reason = "",
    change_ref: ChangeRef = "",
    not_before: NotBefore = "",
    plan_hash: Annotated[
        str, typer.Option("--if-plan-hash", help="Only if the plan is still what a preview showed.")
    ] = "",
    draft: Annotated[bool, typer.Option("--draft", help="Leave the start to a person.")] = False,
    accept_no_way_back: AcceptNoWayBack = "",
    output: Output = TABLE,
) -> None:
    """Start a rollout, or with an ID a draft that is there. Prints its id; `watch` follows it."""
    from .client import connect
    from .output import say, show_one

    client = connect()
    word = {"acceptNoWayBack": accept_no_way_back} if accept_no_way_back else {}
    if _UUID.match(release):
        made = client.post(f"/v1/rollouts/{release}:start", {"reason": reason, **word})
    else:
        body = body_of(release, selector, environment, strategy, kind=kind, app=app, to=to, reason=reason)
        body |= {"changeRef": change_ref} if change_ref else {}
        body |= {"notBefore": not_before} if not_before else {}
        body |= {"ifPlanHash": plan_hash} if plan_hash else {}
        made = client.post("/v1/rollouts", {**body, **word, "mode": "plan" if draft else "start"})
    show_one(made, output, name=made["id"], table=lambda: typer.echo(made["id"]))
    say(f"Rollout {made['id']} is {made['state']}.")


@group.command("list")
def list_(
    state: Annotated[list[str] | None, typer.Option("--state", help="running, failed, ...; several times.")] = None,
    app: Annotated[str, typer.Option("--app", help="Only of this app.")] = "",
    tenant: Annotated[str, typer.Option("--tenant", help="Only those with this tenant among their targets.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many at most.")] = 20,
    output: Output = TABLE,
) -> None:
    """List rollouts, newest first."""
    from .client import connect
    from .output import Column, column, show_list, when

    columns = [
        column("ID", "id"),
        Column("WHAT", lambda r: f"{r['kind']} {r.get('release') or r['app']}"),
        Column("WHO", lambda r: r["selector"] or "all"),
        column("STRATEGY", "strategy"),
        column("STATE", "state"),
        Column("CREATED", lambda r: when(r["createdAt"])),
        Column("ENDED", lambda r: when(r["endedAt"])),
    ]
    found = connect().pages("/v1/rollouts", most=limit, state=state or None, app=app or None, tenant=tenant or None)
    show_list(found, columns, output, name=lambda r: str(r["id"]))


@group.command("show")
def show(
    rollout: Id,
    targets: Annotated[bool, typer.Option("--targets", help="Each tenant too.")] = False,
    output: Output = TABLE,
) -> None:
    """Show where a rollout stands, why, what is next and who can act."""
    from .client import connect
    from .output import Column, column, show_one, stdout, table_of
    from .screens import rollout_screen

    client = connect()
    rollout_id = find(client, rollout)
    view = client.get(f"/v1/rollouts/{rollout_id}")
    if targets:
        view["targetList"] = list(client.pages(f"/v1/rollouts/{rollout_id}/targets"))

    def table() -> None:
        stdout().print(rollout_screen(view, client.fleet))
        if targets:
            columns = [
                column("  TENANT", "tenant"),
                column("WAVE", "wave"),
                column("STATE", "state"),
                column("REASON", "reason"),
            ]
            stdout().print(table_of(view["targetList"], [Column("", lambda _: ""), *columns]))

    show_one(view, output, name=rollout_id, table=table)


@group.command("watch")
def watch(rollout: Id = "latest", timeout: Timeout = "") -> None:
    """Follow a rollout until it is over. Ends with 0 succeeded, 1 failed, 3 waiting for a person, 124 timeout."""
    from .client import connect
    from .watching import watch_rollout

    client = connect()
    raise typer.Exit(watch_rollout(client, find(client, rollout), timeout=seconds_of(timeout) if timeout else None))


@group.command("pause")
def pause(rollout: Id, reason: Reason = "") -> None:
    """Dispatch nothing from now on; what is in flight finishes."""
    _command(rollout, "pause", {"reason": reason}, "Paused. What is in flight finishes.")


@group.command("resume")
def resume(rollout: Id, reason: Reason = "") -> None:
    """Go on after a pause."""
    _command(rollout, "resume", {"reason": reason}, "It goes on.")


@group.command("abort")
def abort(
    rollout: Id,
    reason: Reason = "",
    roll_back: Annotated[
        bool, typer.Option("--roll-back", help="Take back what it changed; else let what is in flight finish.")
    ] = False,
) -> None:
    """End a rollout: nothing more starts."""
    in_flight = "rollBack" if roll_back else "finish"
    _command(rollout, "abort", {"reason": reason, "inFlight": in_flight}, "It ends: nothing more starts.")


@group.command("retry")
def retry(
    rollout: Id,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="Only this one; several times.")] = None,
    reason: Reason = "",
    accept_no_way_back: AcceptNoWayBack = "",
    no_wait: NoWait = True,
) -> None:
    """Give tenants that did not get through the same content again."""
    from .watching import watch_rollout

    body = {"reason": reason, **({"tenants": tenant} if tenant else {})}
    body |= {"acceptNoWayBack": accept_no_way_back} if accept_no_way_back else {}
    client, answer = _command(rollout, "retry", body, "Trying again.")
    if not no_wait:
        raise typer.Exit(watch_rollout(client, answer["id"]))


def body_of(release: str, selector: str, environment: str, strategy: str, **more: Any) -> dict[str, Any]:
    """The body of a preview or start; empty values are left out."""
    to = more.pop("to", "")
    given = {"release": release, "selector": selector, "environment": environment, "strategy": strategy, **more}
    given["to"] = int(to) if to.isdigit() else to
    return {name: value for name, value in given.items() if value != ""}


def find(client: Client, text: str) -> str:
    """A rollout's id from an id, the end of one among the newest 200, or `latest`. Raises CommandError."""
    from .failures import CommandError, Exit

    if _UUID.match(text):
        return text
    ids = [str(r["id"]) for r in client.pages("/v1/rollouts", most=1 if text == "latest" else 200)]
    found = ids[:1] if text == "latest" else [one for one in ids if one.endswith(text)]
    if len(found) == 1:
        return found[0]
    what = "There is no rollout yet." if text == "latest" else f"{len(found)} of the newest rollouts end in {text!r}."
    raise CommandError(what, hint="`seawall rollout list` shows them.", code=Exit.NOT_FOUND)


def _command(rollout: str, word: str, body: dict[str, Any], told: str) -> tuple[Client, Json]:
    from .client import connect
    from .output import say

    client = connect()
    answer = client.post(f"/v1/rollouts/{find(client, rollout)}:{word}", body)
    say(f"{told} (rollout {answer['id']})")
    return client, answer
