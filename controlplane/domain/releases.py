"""Releases: an immutable version of an app, as registered by `POST /v1/releases`, and what may follow what.

Pure: nothing here reads an artifact. Whether the bytes behind `source.artifact` render is for `controlplane.formats`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion
from packaging.version import Version as ParsedVersion
from pydantic import Field, StringConstraints

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Digest, Name, Version, digest_of
from controlplane.domain.targets import DatabaseChange
from controlplane.domain.values import Values
from controlplane.domain.wire import Wire

FormatName = Literal["manifests", "helm"]
Risk = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Module = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
"""The technical name of a part of an app that people know by itself, such as an Odoo module (`stock_account`)."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]

_PINNED = re.compile(r"^[a-z0-9]([A-Za-z0-9._/:-]*[A-Za-z0-9])?@sha256:[0-9a-f]{64}$")
_CLUSTER_VERSION = re.compile(r"^v?(\d+\.\d+(?:\.\d+)?)")


class Source(Wire):
    """Where the content is: an uploaded artifact by digest, read by one of the formats."""

    format: FormatName
    artifact: Digest


class Database(Wire):
    """What the release does to the tenant's database; decides which way back there is."""

    change: DatabaseChange = "none"


class Requires(Wire):
    """What the cluster must offer. `kubernetes` is a version range such as `>=1.31`."""

    kubernetes: Text | None = None


class Provenance(Wire):
    """Where the release came from; `authors` may never approve it."""

    repository: Text | None = None
    commit: Text | None = None
    authors: tuple[Text, ...] = ()


class ReleaseSpec(Wire):
    """The body of `POST /v1/releases`. Immutable: another body under the same app and version is a conflict.

    `images` maps a name of the chart's choosing to a reference pinned by digest; `upgrade_from` is the range of versions
    from which going to this one is safe (`>=17.0.2`, or several joined by commas; none: from any).
    """

    app: Name
    version: Version
    source: Source
    images: dict[Name, Text] = Field(default_factory=dict)
    risks: tuple[Risk, ...] = ()
    modules: tuple[Module, ...] = Field(
        default=(),
        max_length=500,
        exclude_if=lambda v: not v,  # a release without any reads as it did before there were modules
        description="The modules of the app that this release changes; outcomes are grouped by them, risk rules see them.",
    )
    database: Database = Database()
    upgrade_from: Text | None = None
    requires: Requires = Requires()
    provenance: Provenance = Provenance()


@dataclass(frozen=True)
class RangeCheck:
    """Whether a version lies in a range; when not, `reason` is a sentence that names both. True in `if` when allowed."""

    allowed: bool
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.allowed


def is_pinned(reference: str) -> bool:
    """Whether an image reference ends in `@sha256:<64 hex>`, so that it can't move."""
    return bool(_PINNED.match(reference))


def check_release(spec: ReleaseSpec) -> None:
    """Refuse what the types can't see.

    Raises `InvalidError` with code `image-not-pinned` for an image without a digest, and `version-range-invalid` for an
    `upgradeFrom` or `requires.kubernetes` that is no range of versions.
    """
    check_images(spec.images)
    for pointer, text in (("/upgradeFrom", spec.upgrade_from), ("/requires/kubernetes", spec.requires.kubernetes)):
        if text is not None:
            _specifiers(text, pointer)


def check_images(images: dict[str, str]) -> None:
    """Refuse image references that are not pinned by digest (`InvalidError`, code `image-not-pinned`)."""
    loose = [
        FieldError(f"/images/{name}", f"{ref} has no digest; write {ref.split('@')[0]}@sha256:<64 hex digits>")
        for name, ref in sorted(images.items())
        if not is_pinned(ref)
    ]
    if loose:
        raise InvalidError(
            f"{len(loose)} of {len(images)} images are not pinned by digest: a tag can move after approval. "
            "Give each as name@sha256:<digest>.",
            code="image-not-pinned",
            errors=loose,
        )


def release_digest(spec: ReleaseSpec) -> str:
    """The identity of a release's content, which holds are kept by.

    Made of format, artifact digest and the images' digests only: the same bytes under another version, tag or registry
    mirror have the same digest, so a held release can't come back under a new name.
    """
    images = {name: ref.rpartition("@")[2] for name, ref in spec.images.items()}
    return digest_of({"format": spec.source.format, "artifact": spec.source.artifact, "images": images})


def upgrade_allowed(upgrade_from: str | None, current_version: str | None) -> RangeCheck:
    """Whether an environment that runs `current_version` may go to a release with this `upgradeFrom` range.

    No range allows everything; no current version is a first installation, which is always allowed. A current version
    that can't be compared is never assumed to fit: not allowed, with the reason. Ranges are PEP 440 specifiers; a
    pre-release of a version in the range counts as in it.
    """
    if upgrade_from is None or current_version is None:
        return RangeCheck(allowed=True)
    try:
        current = ParsedVersion(current_version)
    except InvalidVersion:
        return RangeCheck(
            allowed=False,
            reason=f"it runs {current_version}, which can't be compared with the range {upgrade_from} that the release allows",
        )
    if _specifiers(upgrade_from, "/upgradeFrom").contains(current, prereleases=True):
        return RangeCheck(allowed=True)
    return RangeCheck(
        allowed=False, reason=f"it runs {current_version}, and the release can only follow {upgrade_from}"
    )


def kubernetes_allowed(required: str | None, cluster_version: str) -> RangeCheck:
    """Whether a cluster of this version (`v1.36.2`, vendor suffixes ignored) satisfies `requires.kubernetes`."""
    if required is None:
        return RangeCheck(allowed=True)
    found = _CLUSTER_VERSION.match(cluster_version)
    if found is None:
        return RangeCheck(
            allowed=False,
            reason=f"the cluster's version {cluster_version!r} can't be compared with the required {required}",
        )
    if _specifiers(required, "/requires/kubernetes").contains(found.group(1), prereleases=True):
        return RangeCheck(allowed=True)
    return RangeCheck(
        allowed=False, reason=f"the cluster runs Kubernetes {found.group(1)}, the release requires {required}"
    )


def _specifiers(text: str, pointer: str) -> SpecifierSet:
    """Read `>=17.0.2`, `>=1, <2` or `>=1 <2`; a single `=` is taken as `==`."""
    joined = ",".join(part for part in re.split(r"[,\s]+(?=[<>=!~])", text.strip()) if part)
    try:
        return SpecifierSet(re.sub(r"(?<![<>=!~])=(?!=)", "==", joined))
    except InvalidSpecifier as error:
        raise InvalidError(
            f"{text!r} is not a range of versions. Write for example '>=17.0.2' or '>=17.0.2, <18'.",
            code="version-range-invalid",
            errors=[FieldError(pointer, f"{text!r} is not a range of versions")],
        ) from error


def image_values(images: Mapping[str, str]) -> Values:
    """The release layer of values: each image as `images.<name>` and, for subcharts, as `global.images.<name>`."""
    return {"images": dict(images), "global": {"images": dict(images)}} if images else {}
