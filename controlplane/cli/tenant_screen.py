"""What people see of one tenant: what it runs, what happened, what is next, who can act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import cell, show_fields, stdout, when

if TYPE_CHECKING:
    from .client import Json


def print_tenant(tenant: Json) -> None:
    """Print a tenant as it was asked for, with its values as YAML."""
    import yaml

    exposure = tenant.get("exposure") or {}
    worth = exposure.get("valuePerOrder") or {}
    orders = f"{exposure.get('ordersPerHour', 0)} orders/h" + (
        f", {worth['amount']} {worth['currency']} each" if worth else ""
    )
    show_fields(
        [
            ("tenant", f"{tenant['name']}  {tenant.get('displayName', '')}".rstrip()),
            ("phase", f"{tenant['phase']} {tenant.get('phaseReason', '')}".rstrip()),
            ("tier", tenant["tier"]),
            ("region", f"{tenant['region']}, {tenant['timeZone']}"),
            ("labels", tenant.get("labels")),
            ("exposure", orders),
            *(
                (p["environment"], f"namespace {p['namespace']} on {p['cluster']}")
                for p in tenant.get("placements") or ()
            ),
            *((f"app {name}", _choice(choice)) for name, choice in (tenant.get("apps") or {}).items()),
        ]
    )
    for name, choice in (tenant.get("apps") or {}).items():
        if choice.get("values"):
            stdout().print(f"values of {name}", style="bold")
            stdout().print(
                "  " + yaml.safe_dump(choice["values"], sort_keys=False).rstrip().replace("\n", "\n  "), markup=False
            )


def _choice(choice: Json) -> str:
    pin = choice.get("pin")
    pinned = (
        f", pinned to {pin.get('version') or 'what it runs'} until {when(pin['until'])}: {pin['reason']}" if pin else ""
    )
    return f"channel {choice['channel']}{pinned}"


def print_status(status: Json) -> None:
    """Print a tenant's status, environment by environment."""
    from rich.text import Text

    stdout().print(Text.assemble((str(status["tenant"]), "bold"), f"  {status['phase']}", (_age(status), "dim")))
    for environment in status["environments"]:
        show_fields([(f"  {environment['name']}", _health(environment)), *_lines(environment)])
    if status.get("actions"):
        show_fields([("  can do", ", ".join(_ACTIONS.get(a, a) for a in status["actions"]))])


_ACTIONS = {"defer": "put it off (`seawall tenant defer`)", "requestRollback": "go back (`seawall tenant rollback`)"}


def _age(status: Json) -> str:
    return f"  as of {when(status['asOf'])}" if status.get("asOf") else "  its health was never looked at"


def _health(environment: Json) -> str:
    reason = environment.get("healthReason")
    return f"{environment['health']}: {reason}" if reason else str(environment["health"])


def _lines(environment: Json) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [("  runs", running(app)) for app in environment["apps"]]
    if drift := environment.get("drift"):
        told = (
            f"{', '.join(drift['objects'])} (somebody else changed it {when(drift['since'])}; policy {drift['policy']})"
        )
        lines.append(("  drifted", f"{told}  {drift.get('reason') or ''}".rstrip()))
    lines.append(("  now", _change(environment.get("now"))))
    lines.append(("  next", _next(environment.get("next"))))
    lines.append(("  last", _last(environment.get("last"))))
    return lines


def running(app: Json) -> str:
    """`odoo 17.0.4 (revision 3, verified 2 min ago)`."""
    verified = f", verified {when(app['verifiedAt'])}" if app.get("verifiedAt") else ", not verified"
    pin = f", pinned: {app['pin'].get('reason', '')}" if app.get("pin") else ""
    return f"{app['name']} {app.get('running') or 'nothing'} (revision {app.get('revision', 0)}{verified}{pin})"


def _change(now: Json | None) -> str:
    if not now:
        return ""
    what = now.get("release") or f"operation {now.get('operation')}"
    since = f", since {when(now['since'])}" if now.get("since") else ""
    return f"{what} {now['state']}{since} {now.get('why', '')}".rstrip()


def _next(following: Json | None) -> str:
    if not following:
        return "nothing is planned"
    waits = "; ".join(f"{w['gate']}: {w['reason']}" for w in following.get("waitingFor") or ())
    back = f", way back {following['wayBack']}" if following.get("wayBack") else ""
    return f"{following['release']} {cell(following.get('why'))}{back}{', waits for ' + waits if waits else ''}"


def _last(last: Json | None) -> str:
    if not last:
        return ""
    reason = f": {last['reason']}" if last.get("reason") else ""
    outcome = {"rolledBack": "went back", "stuck": "is stuck"}.get(last["outcome"], last["outcome"])
    return f"{last['release']} {outcome} {when(last['at'])}{reason}"
