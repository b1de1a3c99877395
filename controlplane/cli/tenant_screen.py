"""What people see of one tenant: what it runs, what happened, what is next, who can act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import cell, show_fields, stdout, when

if TYPE_CHECKING:
    from .client import Json


def print_status(status: Json) -> None:
    """Print a tenant's status, environment by environment."""
    from rich.text import Text

    stdout().print(
        Text.assemble(
            (str(status["tenant"]), "bold"), f"  {status['phase']}", ("  as of " + when(status["asOf"]), "dim")
        )
    )
    for environment in status["environments"]:
        show_fields([(f"  {environment['name']}", environment["health"]), *_lines(environment)])
    if status.get("actions"):
        show_fields([("  you may", ", ".join(status["actions"]))])


def _lines(environment: Json) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [("  runs", running(app)) for app in environment["apps"]]
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
    return f"{now.get('release', '')} {now.get('state', '')} since {when(now.get('since'))}".strip()


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
    return f"{last.get('release') or ''} {last['outcome']} {when(last.get('at'))}{reason}"
