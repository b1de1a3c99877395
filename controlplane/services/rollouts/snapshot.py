"""One reading of the registry: everything a plan is made from, in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain.apps import AppSpec
from controlplane.domain.emergencies import Criterion
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.fleet_limits import FLEET, FleetLimits
from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import Ask, strategy_name
from controlplane.domain.returns import PastRevision
from controlplane.domain.selectors import labels_of_placed, selector_from
from controlplane.domain.strategies import Strategy, check_strategy
from controlplane.domain.targets import PhaseDuration
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.ports.stores.rollout_rows import ReleaseRow, TargetRow
from controlplane.ports.stores.windows import Attachments
from controlplane.ports.uow import UnitOfWork
from controlplane.services.emergencies import take_lane

_REVISIONS_BACK = 20
"""So far back a rollback by number looks."""


@dataclass(frozen=True)
class NamedStrategy:
    """A strategy and which one it is."""

    name: str
    version: int
    strategy: Strategy


@dataclass(frozen=True)
class Release:
    """A registered release with its artifact's bytes."""

    row: ReleaseRow
    spec: ReleaseSpec
    artifact: bytes


@dataclass(frozen=True)
class Snapshot:
    """The registry as one transaction saw it. `targets` are those the selector matches."""

    targets: Sequence[TargetRow]
    strategy: NamedStrategy
    release: Release | None
    app: AppSpec
    others: Mapping[str, Release]
    past: Mapping[str, Sequence[PastRevision]]
    tiers: Mapping[str, TierSpec]
    clusters: Mapping[str, ClusterSpec]
    durations: Mapping[str, PhaseDuration]
    tenants_on: Mapping[str, int]
    attachments: Attachments
    fleet: FleetLimits
    criterion: tuple[str, Criterion] | None = None


async def take_snapshot(uow: UnitOfWork, ask: Ask, gates: frozenset[str]) -> Snapshot:
    """Read what a plan needs.

    Raises InvalidError `unknown-strategy`, `unknown-release`, `invalid-selector`, `unknown-criterion`, `unknown-freeze`; and whatever is
    wrong with a strategy that was stored for an installation with other gates.
    """
    store, request = uow.rollouts, ask.request
    strategy = await _strategy(uow, ask, gates)
    release = await _release(uow, ask) if request.kind == "deploy" else None
    rows = _matching(await store.targets(ask.app, request.environment, ask.tenants), request.selector)
    versions = {r.version for r in rows if r.version} if request.kind == "values" else set()
    past: dict[str, list[PastRevision]] = {}
    if request.kind == "rollback":
        for revision in await store.revisions(ask.app, request.environment, [r.tenant for r in rows], _REVISIONS_BACK):
            past.setdefault(revision.tenant, []).append(revision)
    return Snapshot(
        targets=rows,
        strategy=strategy,
        release=release,
        app=AppSpec.model_validate((await store.configs("apps")).get(ask.app, {})),
        others=await _releases(uow, ask.app, versions),
        past=past,
        tiers={name: TierSpec.model_validate(spec) for name, spec in (await store.configs("tiers")).items()},
        clusters={name: ClusterSpec.model_validate(spec) for name, spec in (await store.configs("clusters")).items()},
        durations={t.phase: PhaseDuration(t.p50, t.p90) for t in await store.phase_times(ask.app)},
        tenants_on=await store.tenants_on({r.cluster for r in rows}),
        criterion=await take_lane(uow, request.emergency) if request.emergency else None,
        attachments=Attachments()
        if request.kind == "rollback"
        else await uow.windows.attachments([r.tenant for r in rows], request.environment),
        fleet=FleetLimits.model_validate((await store.configs("limits")).get(FLEET, {})),
    )


def _matching(rows: Sequence[TargetRow], selector_text: str) -> list[TargetRow]:
    selector = selector_from(selector_text)
    return [row for row in rows if selector.matches(_labels(row))]


def _labels(row: TargetRow) -> dict[str, str]:
    return labels_of_placed(row)


async def _strategy(uow: UnitOfWork, ask: Ask, gates: frozenset[str]) -> NamedStrategy:
    if ask.built_in is not None:
        return NamedStrategy(ask.built_in.name, 0, ask.built_in.strategy)
    name, version = strategy_name(ask.request.strategy)
    found = await uow.rollouts.strategy(name, version)
    if found is None:
        raise InvalidError(
            f"There is no strategy {ask.request.strategy}. See GET /v1/strategies, or create it with PUT /v1/strategies/{name}.",
            code="unknown-strategy",
            errors=[FieldError("/strategy", "no such strategy")],
        )
    strategy = Strategy.model_validate(found[1])
    check_strategy(strategy, gates=gates)
    return NamedStrategy(name, found[0], strategy)


async def _release(uow: UnitOfWork, ask: Ask) -> Release:
    version = ask.version or ""
    found = await _releases(uow, ask.app, {version})
    if version not in found:
        raise InvalidError(
            f"Release {ask.app}/{version} is not registered. Register it with POST /v1/releases.",
            code="unknown-release",
            errors=[FieldError("/release", "no such release")],
        )
    return found[version]


async def _releases(uow: UnitOfWork, app: str, versions: set[str]) -> dict[str, Release]:
    """Releases with their artifacts; a version that is not registered is left out."""
    rows = await uow.rollouts.releases(app, versions) if versions else {}
    found: dict[str, Release] = {}
    for version, row in rows.items():
        spec = ReleaseSpec.model_validate(row.spec)
        artifact = await uow.rollouts.artifact(spec.source.artifact)
        if artifact is None:
            raise InvalidError(
                f"The artifact of release {app}/{version} is gone. Upload it again: PUT /v1/artifacts/{spec.source.artifact}.",
                code="artifact-missing",
            )
        found[version] = Release(row, spec, artifact)
    return found
