"""Registering releases, uploading artifacts, lifting holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from controlplane.domain.apps import AppSpec
from controlplane.domain.errors import ConflictError, FieldError, InvalidError, NotFoundError
from controlplane.domain.names import digest_of
from controlplane.domain.releases import ReleaseSpec, check_release, release_digest
from controlplane.formats import check_registration
from controlplane.ports.stores.releases import ArtifactRecord, ReleaseRecord
from controlplane.ports.uow import UnitOfWork

type Open = Callable[[], AbstractAsyncContextManager[UnitOfWork]]

MAX_ARTIFACT = 20 * 1024 * 1024
"""Bytes. Larger charts hold what belongs into an image."""


async def put_artifact(
    uow: UnitOfWork, digest: str, content: bytes, media_type: str, *, actor: str
) -> tuple[ArtifactRecord, bool]:
    """Store bytes under their digest; again changes nothing. Raises InvalidError `artifact-mismatch`, `artifact-empty`."""
    if not content:
        raise InvalidError("The artifact is empty. Send its bytes as the body.", code="artifact-empty")
    found = digest_of(content)
    if found != digest:
        detail = f"The bytes have the digest {found}, the address says {digest}. The upload was cut, or the digest is of another file."
        raise InvalidError(
            detail, code="artifact-mismatch", errors=[FieldError("path/digest", "not the digest of the bytes")]
        )
    record = ArtifactRecord(digest, media_type, len(content), uow.now, actor)
    if await uow.releases.put_artifact(record, content):
        detail_of = {"size": record.size, "mediaType": media_type}
        await uow.audit(actor, "artifacts.put", f"artifact/{digest}", detail=detail_of)
        return record, True
    return await uow.releases.artifact_info(digest) or record, False


async def check_content(open_: Open, spec: ReleaseSpec) -> None:
    """Refuse a release before it is stored: ranges, pins, artifact, and what it renders to. Renders outside any transaction.

    Raises InvalidError: `unknown-artifact`, or a code of `controlplane.formats`.
    """
    check_release(spec)
    async with open_() as uow:
        artifact = await uow.releases.artifact(spec.source.artifact)
        app = await uow.configuration.current("apps", spec.app)
    if artifact is None:
        detail = (
            f"No artifact {spec.source.artifact} was uploaded. Send its bytes with PUT /v1/artifacts/<digest> first."
        )
        raise InvalidError(detail, code="unknown-artifact", errors=[FieldError("/source/artifact", "was not uploaded")])
    known = AppSpec.model_validate(app.spec) if app else AppSpec()
    await check_registration(spec, artifact, values=known.sample_values, allowed_custom=frozenset(known.custom_kinds))


async def register(
    uow: UnitOfWork, spec: ReleaseSpec, *, actor: str, on_behalf_of: str = ""
) -> tuple[ReleaseRecord, bool]:
    """Store a checked release. Returns it and whether it is new: the same body again changes nothing.

    `on_behalf_of`: whom the token of a CI run names; counts as an author when somebody approves a rollout of it.
    Raises ConflictError `release-exists` if the version has another body.
    """
    content = spec.model_dump(mode="json", by_alias=True)
    digest = release_digest(spec)
    record = ReleaseRecord(spec.app, spec.version, content, digest, uow.now, actor, on_behalf_of=on_behalf_of)
    name = f"{spec.app}/{spec.version}"
    new = await uow.releases.add(record)
    if new:
        await uow.audit(
            actor, "releases.register", f"release/{name}", detail={"digest": digest, "onBehalfOf": on_behalf_of}
        )
        await uow.record("release", name, "registered", data={"app": spec.app, "digest": record.digest})
    stored = await get(uow, spec.app, spec.version)
    if stored.spec != content:
        detail = f"{name} exists with another body, and releases never change. Register it under a new version."
        raise ConflictError(detail, code="release-exists")
    return stored, new


async def get(uow: UnitOfWork, app: str, version: str) -> ReleaseRecord:
    """Read a release. Raises NotFoundError."""
    found = await uow.releases.get(app, version)
    if found is None:
        raise NotFoundError(f"There is no release {app}/{version}.")
    return found


async def lift_hold(uow: UnitOfWork, app: str, version: str, reason: str, *, actor: str) -> ReleaseRecord:
    """End the hold of a release's bytes. Raises NotFoundError, ConflictError `not-held`."""
    release = await get(uow, app, version)
    hold = release.hold
    if hold is None or not await uow.releases.lift(hold.id, uow.now, actor, reason):
        raise ConflictError(f"{app}/{version} is not held, so there is nothing to lift.", code="not-held")
    name = f"{app}/{version}"
    data = {"app": app, "digest": release.digest, "hold": hold.id, "reason": reason}
    await uow.audit(actor, "releases.lift", f"release/{name}", detail=data)
    await uow.record("release", name, "lifted", data=data)
    return await get(uow, app, version)
