"""A tenant owner's whole world: what runs, what happens now, what comes next and until when it can wait. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import AwareDatetime, Field

from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.tenants import EnvironmentName, Pin, TenantPhase
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

_SHORT_NAMES: Final = {"requests.cpu": "cpu", "requests.memory": "memory"}
_NOT_STARTED: Final = frozenset({"pending", "deferred"})


class Usage(Wire):
    """What is used of a limit, as Kubernetes writes quantities."""

    used: str
    limit: str


class AppStatus(Wire):
    """One app: what it runs, since when that is verified, and the pin that keeps it there."""

    name: str
    running: str | None
    revision: int
    verified_at: datetime | None
    pin: Pin | None
    deferred_until: datetime | None = None


class Wait(Wire):
    """What a change waits for."""

    gate: str
    reason: str
    until: datetime | None = None
    who: str | None = None


class NowChanging(Wire):
    """A change that is under way."""

    rollout: str | None = None
    operation: str | None = None
    release: str | None = None
    state: str
    why: str = ""
    since: datetime | None = None


class NextChange(Wire):
    """A change that is planned. `downtime` None: not known. `deferUntilMax`: as long as the owner may put it off."""

    rollout: str
    release: str
    kind: str
    why: str
    expected: list[datetime]
    downtime: Duration | None
    way_back: str | None
    deferred_until: datetime | None = None
    defer_until_max: datetime
    waiting_for: list[Wait] = Field(default_factory=list)


class LastChange(Wire):
    """The newest change that is over."""

    release: str
    outcome: str
    at: datetime
    reason: str


class DriftStatus(Wire):
    """What somebody else changed in an environment, since when, and what follows."""

    since: datetime
    objects: list[str]
    policy: str
    reason: str


class EnvironmentStatus(Wire):
    """One environment."""

    name: str
    health: str
    health_reason: str
    apps: list[AppStatus]
    now: NowChanging | None
    next: NextChange | None
    last: LastChange | None
    drift: DriftStatus | None = None


class TenantStatus(Wire):
    """The answer of `GET /v1/tenants/{t}/status`. `asOf`: when the oldest of the environments was last looked at; None: never."""

    tenant: str
    phase: TenantPhase
    phase_reason: str
    as_of: datetime | None
    environments: list[EnvironmentStatus]
    quota: dict[str, Usage]
    actions: list[str]


class Schedule(Wire):
    """All that is planned, per environment in the order in which it was planned."""

    tenant: str
    items: list[ScheduledChange]


class ScheduledChange(NextChange):
    """One planned change of one environment."""

    environment: str


class TenantQuota(Wire):
    """Used and limit of every resource, per environment."""

    tenant: str
    as_of: datetime | None
    environments: dict[str, dict[str, Usage]]


class HistoryItem(Wire):
    """One change of something that is the tenant's."""

    at: datetime
    kind: str
    id: str
    seq: int
    type: str
    data: dict[str, Any]


class DeferRequest(Wire):
    """Put off what is planned for an environment. `app` None: all its apps."""

    until: AwareDatetime
    environment: EnvironmentName = "production"
    app: Name | None = None
    reason: PlainText = ""


class Deferred(Wire):
    """What was put off, until when."""

    tenant: str
    environment: str
    apps: list[str]
    until: datetime


class RollbackRequest(Wire):
    """Go back to the newest verified revision before the current one."""

    app: Name
    environment: EnvironmentName = "production"
    reason: PlainText = ""


def status_of(row: Mapping[str, Any], defer: timedelta) -> TenantStatus:
    """Make the answer of the one query's row; `defer` is the tier's allowance."""
    environments = [_environment(e, row["apps"], defer) for e in row["environments"]]
    return TenantStatus(
        tenant=row["tenant"],
        phase=row["phase"],
        phase_reason=row["phaseReason"],
        as_of=_oldest(row["environments"]),
        environments=environments,
        quota=_short_quota(row["environments"]),
        actions=_actions(row, environments),
    )


def schedule_of(row: Mapping[str, Any], defer: timedelta) -> Schedule:
    """All planned changes."""
    items = [
        ScheduledChange(environment=e["name"], **dict(_next(e, target, defer)))
        for e in row["environments"]
        for target in e["open"]
        if target["state"] in _NOT_STARTED
    ]
    return Schedule(tenant=row["tenant"], items=items)


def quota_of(row: Mapping[str, Any]) -> TenantQuota:
    """Used and limit, everything that was seen."""
    quotas = {e["name"]: {name: Usage(**amounts) for name, amounts in e["quota"].items()} for e in row["environments"]}
    return TenantQuota(tenant=row["tenant"], as_of=_oldest(row["environments"]), environments=quotas)


def _environment(found: Mapping[str, Any], choices: Mapping[str, Any], defer: timedelta) -> EnvironmentStatus:
    waiting = [t for t in found["open"] if t["state"] in _NOT_STARTED]
    last = found["last"]
    return EnvironmentStatus(
        drift=_drift(found.get("drift") or {}),
        name=found["name"],
        health=found["health"],
        health_reason=found["healthReason"],
        apps=[_app(app, choices) for app in found["apps"]],
        now=_now(found),
        next=_next(found, waiting[0], defer) if waiting else None,
        last=None
        if last is None
        else LastChange(
            release=f"{last['app']}/{last['version']}", outcome=last["outcome"], at=last["at"], reason=last["reason"]
        ),
    )


def _drift(found: Mapping[str, Any]) -> DriftStatus | None:
    if not found.get("objects"):
        return None
    objects = [f"{one['kind']}/{one['name']}{' is gone' if one['missing'] else ''}" for one in found["objects"]]
    return DriftStatus(since=found["since"], objects=objects, policy=found["policy"], reason=found["reason"])


def _app(found: Mapping[str, Any], choices: Mapping[str, Any]) -> AppStatus:
    return AppStatus(
        name=found["name"],
        running=found["running"],
        revision=found["revision"],
        verified_at=found["verifiedAt"],
        pin=(choices.get(found["name"]) or {}).get("pin"),
        deferred_until=found["deferredUntil"],
    )


def _now(found: Mapping[str, Any]) -> NowChanging | None:
    moving = [t for t in found["open"] if t["state"] not in _NOT_STARTED]
    if moving:
        one = moving[0]
        return NowChanging(
            rollout=str(one["rollout"]),
            release=f"{one['app']}/{one['version']}",
            state=one["state"],
            why=one["why"],
            since=one["since"],
        )
    if found["slotKind"] == "operation":
        return NowChanging(operation=str(found["slotId"]), state="running", since=found["slotSince"])
    return None


def _next(found: Mapping[str, Any], target: Mapping[str, Any], defer: timedelta) -> NextChange:
    expected = [_at(target[name]) for name in ("expectedFrom", "expectedBy") if target[name]]
    deferred = next((a["deferredUntil"] for a in found["apps"] if a["name"] == target["app"]), None)
    return NextChange(
        rollout=str(target["rollout"]),
        release=f"{target['app']}/{target['version']}",
        kind=target["kind"],
        why=target["why"],
        expected=expected,
        downtime=timedelta(0) if target["database"] in (None, "none") else None,
        way_back=target["wayBack"],
        deferred_until=deferred,
        defer_until_max=(expected[0] if expected else _at(target["createdAt"])) + defer,
        waiting_for=list(_waits(found, target, deferred)),
    )


def _waits(found: Mapping[str, Any], target: Mapping[str, Any], deferred: str | None) -> Sequence[Wait]:
    waits = []
    if target["state"] == "deferred":
        waits.append(Wait(gate=target["code"] or "deferred", reason=target["reason"]))
    elif deferred:
        waits.append(Wait(gate="deferral", reason="you asked to wait", until=_at(deferred), who="tenant-owner"))
    elif target["state"] == "pending" and target["code"]:
        until = _at(target["waitsUntil"]) if target["waitsUntil"] else None
        waits.append(Wait(gate=target["code"], reason=target["reason"], until=until))
    if target["notBefore"]:
        waits.append(Wait(gate="start", reason="it starts no earlier", until=_at(target["notBefore"])))
    if target["rolloutState"] == "paused":
        waits.append(Wait(gate="paused", reason="a person paused the rollout", who="operator"))
    elif target["waveState"] == "pending":
        waits.append(Wait(gate="wave", reason=f"wave {target['wave']} has not started"))
    if found["dirty"]:
        waits.append(Wait(gate="stuck", reason="an earlier change is stuck; a person mends it", who="operator"))
    return waits


def _actions(row: Mapping[str, Any], environments: Sequence[EnvironmentStatus]) -> list[str]:
    if row["phase"] != "active":
        return []
    actions = ["defer"] if any(e.next for e in environments) else []
    idle = {e.name for e in environments if e.now is None}
    back = any(a["earlier"] for e in row["environments"] if e["name"] in idle for a in e["apps"])
    return [*actions, "requestRollback"] if back else actions


def _short_quota(environments: Sequence[Mapping[str, Any]]) -> dict[str, Usage]:
    production: Mapping[str, Any] = next((e["quota"] for e in environments if e["name"] == "production"), {})
    return {_SHORT_NAMES.get(name, name): Usage(**amounts) for name, amounts in production.items()}


def _oldest(environments: Sequence[Mapping[str, Any]]) -> datetime | None:
    times = [e["healthAt"] for e in environments]
    return min(_at(t) for t in times) if times and all(times) else None


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
