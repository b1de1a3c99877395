"""`tenant`: customers, and what each of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import TABLE, Environment, NoWait, Output, Reason, Selector, Timeout, Yes, new_group, seconds_of

if TYPE_CHECKING:
    from .client import Client, Json

group = new_group("Tenants: customers, and what each of them runs.")
Name = Annotated[str, typer.Argument(metavar="TENANT")]
App = Annotated[str, typer.Option("--app", help="Needed where the tenant runs several.")]


@group.command("onboard")
def onboard(
    name: Annotated[str, typer.Argument(metavar="[TENANT]", help="One tenant by options, or none with -f.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Tenants as YAML documents, JSON or NDJSON; - is stdin.")
    ] = None,
    tier: Annotated[str, typer.Option(help="Quota and isolation class.")] = "",
    region: Annotated[str, typer.Option(help="Where its data live.")] = "",
    cluster: Annotated[str, typer.Option(help="Where production is placed.")] = "",
    app: Annotated[list[str] | None, typer.Option("--app", help="App or app=channel; several times.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", help="key=value; several times.")] = None,
    time_zone: Annotated[str, typer.Option(help="Of the IANA database, for windows.")] = "UTC",
    no_wait: NoWait = False,
    timeout: Timeout = "",
) -> None:
    """Give a tenant its walls, then install its apps. Several tenants go into one operation."""
    from .client import connect
    from .failures import UsageError
    from .output import say

    if bool(name) == bool(file):
        raise UsageError("Name one tenant, or give a file with -f.")
    if file is not None:
        bodies = read_tenants(file)
    else:
        apps = {one.partition("=")[0]: {"channel": one.partition("=")[2] or "stable"} for one in app or ()}
        body = {"name": name, "tier": tier, "region": region, "timeZone": time_zone, "apps": apps}
        labels = {one.partition("=")[0]: one.partition("=")[2] for one in label or ()}
        bodies = [{**body, "labels": labels, "environments": {"production": {"cluster": cluster}}}]
    client = connect()
    answer = client.post("/v1/tenants", bodies[0]) if len(bodies) == 1 else batch_onboard(client, bodies)
    if no_wait:
        typer.echo(answer["id"])
        return
    _finish(client, answer, timeout)
    say(f"{len(bodies)} onboarded." if len(bodies) > 1 else f"{bodies[0]['name']} is active.")


def batch_onboard(client: Client, bodies: list[dict[str, Any]]) -> Json:
    """Send many tenants as one operation, a result per line."""
    import json
    import uuid

    lines = "".join(json.dumps(body) + "\n" for body in bodies)
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": str(uuid.uuid4())}
    answer: Json = client.request("POST", "/v1/tenants:batchOnboard", content=lines.encode(), headers=headers).json()
    return answer


def read_tenants(file: Path) -> list[dict[str, Any]]:
    """Read tenants from YAML documents, a JSON array or NDJSON. Raises UsageError."""
    import json

    import yaml

    from .failures import UsageError

    text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text()
    try:
        if file.suffix in (".ndjson", ".jsonl"):
            loaded = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            loaded = [d for d in yaml.safe_load_all(text) if d is not None]
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file} can't be read: {error}") from error
    flat = [one for d in loaded for one in (d if isinstance(d, list) else [d])]
    if not flat or not all(isinstance(one, dict) for one in flat):
        raise UsageError(f"{file} holds no tenants.", "Each is an object with name, tier, region and environments.")
    return flat


@group.command("list")
def list_(selector: Selector = "", output: Output = TABLE) -> None:
    """List tenants by name."""
    from .client import connect
    from .output import Column, column, show_list

    columns = [
        column("NAME", "name"),
        column("PHASE", "phase"),
        column("TIER", "tier"),
        column("REGION", "region"),
        Column("APPS", lambda t: list(t.get("apps") or ())),
        Column("LABELS", lambda t: t.get("labels")),
    ]
    found = connect().pages("/v1/tenants", selector=selector or None)
    show_list(found, columns, output, name=lambda t: str(t["name"]))


@group.command("show")
def show(tenant: Name, output: Output = TABLE) -> None:
    """Show a tenant as it was asked for."""
    from .client import connect
    from .output import show_one
    from .tenant_screen import print_tenant

    item = connect().get(f"/v1/tenants/{tenant}")
    show_one(item, output, name=tenant, table=lambda: print_tenant(item))


@group.command("status")
def status(tenant: Name, output: Output = TABLE) -> None:
    """Show what a tenant runs, what runs now, what is next and what was last."""
    from .client import connect
    from .output import show_one
    from .tenant_screen import print_status

    item = connect().get(f"/v1/tenants/{tenant}/status")
    show_one(item, output, name=tenant, table=lambda: print_status(item))


@group.command("suspend")
def suspend(tenant: Name, reason: Reason = "", no_wait: NoWait = False, timeout: Timeout = "") -> None:
    """Stop a tenant's workloads; data and walls stay."""
    _act(tenant, "suspend", {"reason": reason}, no_wait=no_wait, timeout=timeout)


@group.command("resume")
def resume(tenant: Name, no_wait: NoWait = False, timeout: Timeout = "") -> None:
    """Start a suspended tenant again, or try a failed onboarding again."""
    _act(tenant, "resume", None, no_wait=no_wait, timeout=timeout)


@group.command("defer")
def defer(
    tenant: Name,
    until: Annotated[str, typer.Option("--until", help="A time with its zone, or a span from now (2d).")],
    reason: Reason = "",
    environment: Environment = "production",
    app: App = "",
) -> None:
    """Put off changes of a tenant, within its tier's allowance."""
    from .client import connect
    from .freeze import moment_of
    from .output import say

    body = {"environment": environment, "until": moment_of(until), "reason": reason, **({"app": app} if app else {})}
    connect().post(f"/v1/tenants/{tenant}:defer", body)
    say(f"Changes of {tenant} are put off.")


@group.command("rollback")
def rollback(
    tenant: Name,
    app: Annotated[str, typer.Option("--app", help="Which app goes back.")],
    reason: Reason = "",
    environment: Environment = "production",
    no_wait: NoWait = False,
    timeout: Timeout = "",
) -> None:
    """Take one app of a tenant back to its newest verified revision before the current one."""
    from .client import connect
    from .output import say
    from .watching import watch_rollout

    client = connect()
    body = {"environment": environment, "app": app, "reason": reason}
    made = client.post(f"/v1/tenants/{tenant}:rollback", body)
    if no_wait:
        typer.echo(made["id"])
        return
    if "/v1/rollouts/" not in made["operation"]:
        say(f"{app} of {tenant} goes back. `seawall tenant status {tenant}` says how it goes.")
        return
    raise typer.Exit(watch_rollout(client, str(made["id"]), timeout=seconds_of(timeout) if timeout else None))


@group.command("offboard")
def offboard(tenant: Name, yes: Yes = False, no_wait: NoWait = False, timeout: Timeout = "") -> None:
    """Remove a tenant's namespaces; its records stay, and its name is never given again."""
    from .client import connect
    from .output import say

    if not yes:
        typer.confirm(f"Offboard {tenant}, with its namespaces?", abort=True, err=True)
    client = connect()
    answer = client.delete(f"/v1/tenants/{tenant}")
    if no_wait:
        typer.echo(answer["id"])
        return
    _finish(client, answer, timeout)
    say(f"{tenant} is offboarded.")


@group.command("export")
def export(tenant: Name, timeout: Timeout = "") -> None:
    """Write a tenant's record and current manifests as JSON on stdout."""
    import json

    from .client import connect

    client = connect()
    answer = client.post(f"/v1/tenants/{tenant}:export")
    _finish(client, answer, timeout)
    typer.echo(json.dumps(client.get(f"/v1/operations/{answer['id']}/result"), indent=2))


def _act(tenant: str, word: str, body: dict[str, Any] | None, *, no_wait: bool, timeout: str) -> None:
    from .client import connect
    from .output import say

    client = connect()
    answer = client.post(f"/v1/tenants/{tenant}:{word}", body)
    if no_wait:
        typer.echo(answer["id"])
        return
    _finish(client, answer, timeout)
    say(f"{tenant}: {word} is done.")


def _finish(client: Client, answer: Json, timeout: str) -> None:
    """Wait for an operation; say which of its items failed, and why."""
    from .output import say
    from .watching import wait_operation

    try:
        wait_operation(client, answer, timeout=seconds_of(timeout) if timeout else None)
    finally:
        for item in client.pages(f"/v1/operations/{answer['id']}/items", state="failed"):
            where = f"line {item['line']}: " if item.get("line") else ""
            say(f"{where}{item['tenant']} failed: {(item.get('problem') or {}).get('detail', '')}")
