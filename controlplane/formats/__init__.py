"""Release formats. A new one is a file with a class like `HelmFormat`, and a line in `FORMATS`."""

from __future__ import annotations

from controlplane.domain.errors import InvalidError
from controlplane.domain.manifests import Rendered
from controlplane.domain.names import digest_of
from controlplane.domain.releases import ReleaseSpec, check_release, image_values
from controlplane.domain.values import Layer, Values, merge_layers
from controlplane.formats.base import ArtifactInfo, Format, RenderInputs
from controlplane.formats.helm import HelmFormat
from controlplane.formats.manifests import ManifestsFormat
from controlplane.formats.sandbox import Sandbox

__all__ = ["FORMATS", "ArtifactInfo", "Format", "RenderInputs", "check_registration", "format_for"]

CHECK_NAMESPACE = "checked-at-registration"

_sandbox = Sandbox()

FORMATS: dict[str, Format] = {
    "helm": HelmFormat(_sandbox),
    "manifests": ManifestsFormat(_sandbox),
}


def format_for(name: str) -> Format:
    """The format of that name. Raises `InvalidError` (`unknown-format`)."""
    found = FORMATS.get(name)
    if found is None:
        raise InvalidError(f"{name!r} is not a release format. Use one of {', '.join(FORMATS)}.", code="unknown-format")
    return found


async def check_registration(
    spec: ReleaseSpec,
    artifact: bytes,
    *,
    values: Values | None = None,
    allowed_custom: frozenset[str] = frozenset(),
) -> Rendered:
    """Refuse a release before it is stored: its images, its ranges, its artifact, and what it renders to by default.

    It is rendered with the chart's defaults, the release's images and `values` (an app's sample values, if it has any), in
    a namespace that doesn't exist; so a chart needs defaults that render. Raises `InvalidError` with a stable code.
    """
    check_release(spec)
    if digest_of(artifact) != spec.source.artifact:
        raise InvalidError("The artifact's bytes don't have the digest the release names.", code="artifact-mismatch")
    chosen = format_for(spec.source.format)
    info = await chosen.inspect(artifact)
    layers = {Layer.CHART: info.defaults, Layer.RELEASE: image_values(spec.images), Layer.TENANT: values or {}}
    effective = merge_layers(layers).values
    await chosen.check_values(artifact, effective)
    return await chosen.render(
        artifact, RenderInputs(spec.app, CHECK_NAMESPACE, effective, allowed_custom=allowed_custom)
    )
