"""What the demo does, through the API alone; each step returns what the API said."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controlplane.cli.apply import put_document
from controlplane.cli.client import Client, Json
from controlplane.cli.event import fate_line, send_event
from controlplane.cli.failures import CommandError, Exit
from controlplane.cli.release import register_release
from controlplane.cli.tenant import batch_onboard
from controlplane.cli.watching import follow

from . import scene
from .charts import packed

type Progress = Callable[[str], None]

PATIENCE = 300.0
"""Seconds that a step may take before the demo gives up."""
SETTLES = 20.0
"""Seconds within which everybody must be seen healthy once a rollout is over."""


@dataclass(frozen=True)
class Rolled:
    """A rollout that is over: the event that started it, the last view, its targets and its history."""

    event: Json
    view: Json
    targets: list[Json]
    history: list[Json]
    seconds: float


@dataclass(frozen=True)
class Standing:
    """A tenant at the end: what it runs, and whether that is verified."""

    tenant: str
    version: str | None
    verified: bool
    health: str


def prepare(client: Client, cluster: str, deadline: str) -> None:
    """Put the configuration in force, register the first release."""
    for document in scene.configuration(deadline, cluster):
        put_document(client, document)
    register(client, scene.FIRST)


def register(client: Client, version: str) -> None:
    """Pack, upload and register a release."""
    register_release(client, f"{scene.APP}/{version}", "helm", packed(version), scene.release(version))


def onboard(client: Client, cluster: str, progress: Progress) -> float:
    """Onboard all tenants in one operation, each with its app; returns the seconds it took. Raises CommandError."""
    started = time.monotonic()
    answer = batch_onboard(client, scene.tenants(cluster))
    while True:
        view = client.get(f"/v1/operations/{answer['id']}")
        items = view["items"]
        progress(f"{items.get('succeeded', 0)} of {sum(items.values())} onboarded")
        if view["state"] == "succeeded" and not items.get("failed"):
            return time.monotonic() - started
        if view["state"] in ("failed", "cancelled") or items.get("failed"):
            raise CommandError(f"Onboarding did not succeed: {_first_problem(client, view)}")
        _patience(started, "Onboarding")
        time.sleep(0.2)


def roll(client: Client, version: str, show: Callable[[Json], None]) -> Rolled:
    """Send the event that a release is out, follow the rollout it starts to its end. Raises CommandError."""
    started = time.monotonic()
    rollout_id, event = await_fate(client, scene.published(version))
    if not rollout_id:
        raise CommandError(f"The event started nothing: {'; '.join(fate_line(one) for one in event['fate'])}")
    view = follow(client, rollout_id, show, timeout=PATIENCE)
    seconds = time.monotonic() - started
    targets = list(client.pages(f"/v1/rollouts/{rollout_id}/targets"))
    history = list(client.pages(f"/v1/rollouts/{rollout_id}/events"))
    return Rolled(event, view, targets, history, seconds)


def await_fate(client: Client, event: dict[str, Any]) -> tuple[str, Json]:
    """Send an event and wait until it is decided; returns the rollout it started (or nothing) and its fate."""
    receipt = send_event(client, event)
    started = time.monotonic()
    while True:
        view = client.get(f"/v1/events/{receipt['id']}", source=receipt["source"])
        rollouts = [one["rollout"] for one in view["fate"] if one.get("rollout")]
        if rollouts or view["state"] in ("done", "dead"):
            return (str(rollouts[0]) if rollouts else ""), view
        _patience(started, f"Event {receipt['id']}")
        time.sleep(0.1)


def standings(client: Client) -> list[Standing]:
    """What each tenant runs now, as its own status says once the watches' newest word on everybody is written."""
    started = time.monotonic()
    while True:
        found = [_standing(client.get(f"/v1/tenants/{one['name']}/status")) for one in client.pages("/v1/tenants")]
        if all(one.health == "healthy" for one in found) or time.monotonic() - started > SETTLES:
            return found
        time.sleep(0.3)


def _standing(status: Json) -> Standing:
    environment = next(e for e in status["environments"] if e["name"] == "production")
    app: Json = next((a for a in environment["apps"] if a["name"] == scene.APP), {})
    return Standing(status["tenant"], app.get("running"), bool(app.get("verifiedAt")), environment["health"])


def _first_problem(client: Client, view: Json) -> str:
    for item in client.pages(f"/v1/operations/{view['id']}/items", most=1, state="failed"):
        return f"{item['tenant']}: {(item.get('problem') or {}).get('detail', 'failed')}"
    return str((view.get("problem") or {}).get("detail", view["state"]))


def _patience(started: float, what: str) -> None:
    if time.monotonic() - started > PATIENCE:
        raise CommandError(f"{what} did not end within {PATIENCE:.0f} s.", code=Exit.TIMEOUT)
