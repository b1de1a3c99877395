"""From registry rows to the facts the planner is told about each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from controlplane.domain.quantities import Money
from controlplane.domain.quota import Fit
from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import Ask
from controlplane.domain.returns import Return, choose_return
from controlplane.domain.targets import (
    Hold,
    Pin,
    ReleaseFacts,
    TargetFacts,
    TargetProblem,
    TenantPhase,
)
from controlplane.domain.values import Layer, Values
from controlplane.ports.stores.rollout_rows import ReleaseRow, TargetRow

from .content import Given, Wanted, contents_for
from .snapshot import Release, Snapshot

type Offer = Given | TargetProblem | None
"""What a target would be given; why it can't be; None: there is nothing to give."""


async def offers(ask: Ask, snapshot: Snapshot) -> dict[str, Offer]:
    """What each selected target would be given, by tenant."""
    if ask.contents is not None:
        return {
            tenant: Given(again.content, again.version, again.values_hash, {}) for tenant, again in ask.contents.items()
        }
    match ask.request.kind:
        case "rollback":
            return {tenant: _returned(found) for tenant, found in returns(ask, snapshot).items()}
        case "values":
            return await _with_changed_values(ask, snapshot)
        case _:
            if snapshot.release is None:
                raise ValueError("a deploy without a release passed the check of requests")
            return dict(await _rendered(ask, snapshot, snapshot.release, snapshot.targets))


def returns(ask: Ask, snapshot: Snapshot) -> dict[str, Return]:
    """Where each target of a rollback would go."""
    to, undo = ask.request.to, ask.version
    return {row.tenant: choose_return(snapshot.past.get(row.tenant, ()), to, undo) for row in snapshot.targets}


def _returned(found: Return) -> Offer:
    if found.to is None:
        return found.problem
    return Given(found.to.content, found.to.version, found.to.values_hash, found.to.values)


async def _with_changed_values(ask: Ask, snapshot: Snapshot) -> dict[str, Offer]:
    """Render each target's present release again, release by release."""
    result: dict[str, Offer] = {}
    for version in sorted({row.version for row in snapshot.targets if row.version}):
        rows = [row for row in snapshot.targets if row.version == version]
        release = snapshot.others.get(version)
        if release is None:
            detail = f"It runs {ask.app}/{version}, which is not registered, so its values can't be rendered."
            result |= dict.fromkeys((row.tenant for row in rows), TargetProblem("unknown-release", detail))
        else:
            result |= await _rendered(ask, snapshot, release, rows)
    return result


async def _rendered(
    ask: Ask, snapshot: Snapshot, release: Release, rows: Sequence[TargetRow]
) -> Mapping[str, Given | TargetProblem]:
    wanted = [
        Wanted(row.tenant, row.namespace, _layers(row, ask.app, snapshot), frozenset(row.hosts), row.priority)
        for row in rows
    ]
    return await contents_for(release.spec, release.artifact, wanted, snapshot.app)


def _layers(row: TargetRow, app: str, snapshot: Snapshot) -> dict[Layer, Values]:
    """The four layers that belong to a target; empty ones are left out, so that equal targets look equal."""
    tier, cluster = snapshot.tiers.get(row.tier), snapshot.clusters.get(row.cluster)
    layers: dict[Layer, Values] = {
        Layer.TIER: tier.layer(app) if tier else {},
        Layer.CLUSTER: cluster.layer(app) if cluster else {},
        Layer.TENANT: (row.app or {}).get("values") or {},
        Layer.ENVIRONMENT: row.values,
    }
    return {layer: values for layer, values in layers.items() if values}


def target_facts(
    row: TargetRow,
    offer: Offer,
    ask: Ask,
    back: Return | None,
    fit: Fit | None,
    problem: TargetProblem | None,
    unrecreatable: tuple[str, ...] = (),
) -> TargetFacts:
    """All the planner wants to know of one target."""
    given = offer if isinstance(offer, Given) else None
    exposure = row.exposure or {}
    value = exposure.get("valuePerOrder")
    return TargetFacts(
        tenant=row.tenant,
        environment=row.environment,
        cluster=row.cluster,
        region=row.region,
        tier=row.tier,
        # Content that can't be made is a problem of its own; the planner must not take it for "nothing to give".
        desired_content=given.content if given else ("" if isinstance(offer, TargetProblem) else None),
        labels=row.labels,
        orders_per_hour=Decimal(str(exposure.get("ordersPerHour", 0))),
        value_per_order=Money.model_validate(value) if value else None,
        current_version=row.version or None,  # a revision rebuilt after a failover has no known release
        current_content=row.content,
        base_revision=row.revision,
        last_verified_revision=row.verified_revision,
        desired_version=given.version if given else None,
        return_to=back.to.revision if back and back.to else None,
        crosses=back.crosses if back else "none",
        unrecreatable=unrecreatable,
        pin=_pin(row),
        phase=_phase(row, ask),
        busy_with=str(row.slot_id) if row.slot_id else None,
        deferred_until=row.deferred_until,
        quota=fit,
        problem=offer if isinstance(offer, TargetProblem) else problem or _standing_problem(row, ask),
    )


def release_facts(row: ReleaseRow, spec: ReleaseSpec, *, held: bool = True) -> ReleaseFacts:
    """What the planner wants to know of a release."""
    hold = Hold(row.hold_reason, row.hold_since) if held and row.hold_reason is not None else None
    return ReleaseFacts(
        app=row.app,
        version=row.version,
        digest=row.digest,
        upgrade_from=spec.upgrade_from,
        database=spec.database.change,
        risks=spec.risks,
        hold=hold,
    )


def _phase(row: TargetRow, ask: Ask) -> TenantPhase:
    """A first installation takes tenants that are still being onboarded; `observed` is a problem, not a phase of a plan."""
    if row.phase == "observed" or (ask.installing and row.phase == "onboarding"):
        return "active"
    return cast("TenantPhase", row.phase)  # the database's check constraint names exactly these


def _standing_problem(row: TargetRow, ask: Ask) -> TargetProblem | None:
    if row.phase == "observed":
        detail = "Its namespace is only observed. Adopt the tenant first; nothing is written until then."
        return TargetProblem("observed", detail)
    if row.dirty and ask.request.kind != "rollback" and ask.contents is None:
        detail = "It is stuck from an earlier change. A person retries that change or rolls the tenant back first."
        return TargetProblem("stuck", detail)
    return None


def _pin(row: TargetRow) -> Pin | None:
    pin: dict[str, Any] | None = (row.app or {}).get("pin")
    if not pin:
        return None
    until = datetime.fromisoformat(pin["until"]) if pin.get("until") else None
    return Pin(reason=pin["reason"], owner=pin["owner"], until=until, version=pin.get("version"))
