"""Releases, artifacts and holds."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import StrictRoute, feature_router
from controlplane.domain.errors import NotFoundError
from controlplane.domain.federation import set_off_by
from controlplane.domain.names import Digest, Name, Version
from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire
from controlplane.ports.stores.releases import ArtifactRecord, HoldRecord, ReleaseRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services import releases as service

_MEDIA_TYPE = re.compile(r"^[a-z]+/[a-z0-9.+-]{1,100}$")
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class ArtifactRoute(StrictRoute):
    """Takes larger bodies than JSON ones."""

    body_limit = service.MAX_ARTIFACT


class Artifact(Wire):
    """Uploaded bytes."""

    digest: Digest
    media_type: str
    size: int
    created_at: datetime
    created_by: str


class Hold(Wire):
    """No trigger starts these bytes, whatever their version is called, until a person lifts the hold with a reason."""

    id: uuid.UUID
    app: str
    version: str
    digest: str
    reason: str
    rollout_id: uuid.UUID | None
    created_at: datetime
    created_by: str
    lifted_at: datetime | None
    lifted_by: str
    lift_reason: str


class Release(ReleaseSpec):
    """A registered release. `digest` identifies its bytes; proven: a rollout of it succeeded."""

    digest: str
    created_at: datetime
    created_by: str
    on_behalf_of: str = Field(
        default="", description="Whom the CI run that registered it names as the one who set it off."
    )
    proven_at: datetime | None
    proven_by: uuid.UUID | None
    hold: Hold | None = Field(description="The open hold of its bytes.")


class LiftRequest(Wire):
    """Why a hold ends."""

    reason: Annotated[PlainText, Field(min_length=1)]


router = feature_router("releases")
artifacts = feature_router("releases", route_class=ArtifactRoute)

VersionPath = Annotated[Version, Path()]
created = {201: {"model": Artifact, "description": "It is new."}}


@artifacts.put(
    "/v1/artifacts/{digest}",
    operation_id="putArtifact",
    response_model=Artifact,
    responses=created,  # type: ignore[arg-type]  # FastAPI's keys are int | str, invariant
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
)
async def put_artifact(request: Request, digest: Digest, call: Annotated[Call, may("artifacts.write")]) -> Response:
    """Upload an artifact under its digest; again changes nothing. No If-Match: what a digest names can't change."""
    content = await request.body()
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    media_type = given if _MEDIA_TYPE.match(given) else "application/octet-stream"
    async with call.platform() as uow:
        record, new = await service.put_artifact(uow, digest, content, media_type, actor=call.actor)
    headers = {"Location": absolute(request, f"/v1/artifacts/{digest}")} if new else {}
    return respond(_artifact(record), 201 if new else 200, headers)


@artifacts.get(
    "/v1/artifacts/{digest}",
    operation_id="getArtifact",
    response_class=Response,
    responses={200: {"content": _BYTES, "description": "The bytes."}},
)
async def get_artifact(digest: Digest, call: Annotated[Call, may("artifacts.read")]) -> Response:
    """Download an artifact."""
    async with call.platform() as uow:
        content = await uow.releases.artifact(digest)
    if content is None:
        raise NotFoundError(f"There is no artifact {digest}.")
    headers = {"ETag": f'"{digest}"', "Content-Disposition": "attachment"}
    return Response(content, headers=headers, media_type="application/octet-stream")


@router.post(
    "/v1/releases",
    operation_id="registerRelease",
    status_code=201,
    response_model=Release,
    responses={200: {"model": Release, "description": "It was there, with this body."}},
)
async def register(
    request: Request, body: ReleaseSpec, key: IdempotencyKey, call: Annotated[Call, may("releases.register")]
) -> Response:
    """Register a release: rendered once, checked against the walls, then immutable."""
    call.check_app(body.app)
    await service.check_content(call.platform, body)

    async def effect(uow: UnitOfWork) -> Answer:
        # The token of a CI run names who set it off (GitHub's `actor`, GitLab's `user_login`), not only the repository.
        behind = set_off_by(call.principal)
        record, new = await service.register(uow, body, actor=call.actor, on_behalf_of=behind)
        location = absolute(request, f"/v1/releases/{body.app}/{body.version}")
        return Answer(201 if new else 200, _release(record), {"Location": location})

    return await once(call, key, effect, transaction=call.platform())


@router.get("/v1/releases", operation_id="listReleases", response_model=Page[Release])
async def list_releases(
    request: Request,
    call: Annotated[Call, may("releases.read")],
    app: Annotated[Name | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List releases, newest first."""
    after: Any = decode(cursor, datetime, str, str)
    apps = frozenset({app}) if app else None
    if call.bound:
        apps = call.principal.apps & apps if apps else call.principal.apps
    async with call.platform() as uow:
        rows = await uow.releases.page(apps, after, limit + 1)
    return respond(
        page(request, rows, limit, show=_release, position=lambda r: [r.created_at.isoformat(), r.app, r.version])
    )


@router.get("/v1/releases/{app}/{version}", operation_id="getRelease", response_model=Release)
async def get_release(app: Name, version: VersionPath, call: Annotated[Call, may("releases.read")]) -> Response:
    """Show a release."""
    call.check_app(app)
    async with call.platform() as uow:
        return respond(_release(await service.get(uow, app, version)))


@router.post("/v1/releases/{app}/{version}:lift", operation_id="liftHold", response_model=Release)
async def lift(
    app: Name, version: VersionPath, body: LiftRequest, key: IdempotencyKey, call: Annotated[Call, may("releases.lift")]
) -> Response:
    """End the hold of a release's bytes, with a reason."""

    async def effect(uow: UnitOfWork) -> Answer:
        return Answer(200, _release(await service.lift_hold(uow, app, version, body.reason, actor=call.actor)))

    return await once(call, key, effect)


@router.get("/v1/holds", operation_id="listHolds", response_model=Page[Hold])
async def list_holds(
    request: Request,
    call: Annotated[Call, may("holds.read")],
    lifted: Annotated[bool, Query(description="Lifted ones too.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List holds, newest first."""
    after = decode(cursor, uuid.UUID)
    async with call.platform() as uow:
        rows = await uow.releases.holds(after[0] if after else None, limit + 1, lifted=lifted)
    return respond(page(request, rows, limit, show=_hold, position=lambda h: [h.id]))


def _artifact(record: ArtifactRecord) -> Artifact:
    return Artifact(**vars(record))


def _hold(record: HoldRecord) -> Hold:
    return Hold(**vars(record))


def _release(record: ReleaseRecord) -> Release:
    own = {name: value for name, value in vars(record).items() if name not in ("spec", "app", "version", "hold")}
    return Release.model_validate({**record.spec, **own, "hold": _hold(record.hold) if record.hold else None})
