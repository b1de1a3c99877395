"""Values of an app in one environment: the environment's layer, and what all six layers come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.domain.errors import NotFoundError
from controlplane.domain.releases import ReleaseSpec, image_values
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.values import Layer, MergedValues, Values, merge_layers
from controlplane.formats import format_for
from controlplane.ports.uow import UnitOfWork


@dataclass(frozen=True)
class LayerInputs:
    """The layers the registry has, and the release whose chart is the lowest one (the installed one; None: nothing is installed)."""

    tenant: str
    environment: str
    app: str
    version: int
    own: Values
    layers: Mapping[Layer, Values]
    release: ReleaseSpec | None
    artifact: bytes


async def read_layers(uow: UnitOfWork, tenant: str, environment: str, app: str) -> LayerInputs:
    """Read everything that an app's values are made of, in a fleet role's transaction. Raises NotFoundError."""
    record = await uow.tenants.get(tenant)
    rows = await uow.tenants.apps(tenant) if record else []
    row = next((r for r in rows if (r.environment, r.app) == (environment, app)), None)
    if record is None or row is None:
        raise NotFoundError(
            f"There is no app {app!r} in environment {environment!r} of tenant {tenant!r} that you may see."
        )
    cluster = record.spec.environments.present()[row.environment].cluster  # type: ignore[index]  # a stored row names an environment its record has
    tiers, clusters = await uow.tenants.tiers(), await uow.tenants.clusters()
    found = await uow.rollouts.release(app, row.release_version) if row.release_version else None
    spec = ReleaseSpec.model_validate(found.spec) if found else None
    layers: dict[Layer, Values] = {
        Layer.TIER: tiers.get(record.spec.tier, TierSpec()).layer(app),
        Layer.CLUSTER: clusters.get(cluster, ClusterSpec()).layer(app),
        Layer.TENANT: record.spec.apps[app].values if app in record.spec.apps else {},
    }
    artifact = (await uow.rollouts.artifact(spec.source.artifact) if spec else None) or b""
    return LayerInputs(
        tenant, environment, app, row.values_version, dict(row.values), layers, spec if artifact else None, artifact
    )


async def merged(inputs: LayerInputs, own: Values | None = None) -> MergedValues:
    """Lay all six layers, with `own` in place of the stored environment layer if given. No database."""
    layers = {**inputs.layers, Layer.ENVIRONMENT: inputs.own if own is None else own}
    if inputs.release is not None:
        info = await format_for(inputs.release.source.format).inspect(inputs.artifact)
        layers |= {Layer.CHART: info.defaults, Layer.RELEASE: image_values(inputs.release.images)}
    return merge_layers(layers)


async def check_values(inputs: LayerInputs, own: Values) -> None:
    """Refuse an environment layer whose effective values the installed release's schema refuses (`values-refused`)."""
    if inputs.release is None:
        return
    effective = (await merged(inputs, own)).values
    await format_for(inputs.release.source.format).check_values(inputs.artifact, effective)


async def store_values(uow: UnitOfWork, inputs: LayerInputs, own: dict[str, Any], *, actor: str) -> int:
    """Store an environment layer; returns its new version. A rollout of kind `values` brings it to the cluster."""
    version = await uow.tenants.set_values(inputs.tenant, inputs.environment, inputs.app, own)
    # Values may be private: the audit says which keys, not what they became.
    detail = {"environment": inputs.environment, "app": inputs.app, "version": version, "keys": sorted(own)}
    await uow.audit(actor, "values.change", f"tenant/{inputs.tenant}", tenant=inputs.tenant, detail=detail)
    return version
