"""What others attest: evidence about releases, backups of tenants, drills of restoring them."""

from __future__ import annotations

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
from controlplane.api.routing import feature_router
from controlplane.domain.backups import BackupId, BackupReport, RestoreDrill
from controlplane.domain.evidence import EvidenceKind, EvidenceWish
from controlplane.domain.names import Name, Version
from controlplane.ports.stores.evidence import BackupRecord, DrillRecord, EvidenceRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services import evidence as service

router = feature_router("evidence")
VersionPath = Annotated[Version, Path()]
BackupPath = Annotated[BackupId, Path(description="The backup system's own name for it.")]


class Evidence(EvidenceWish):
    """One attestation about a release; it never changes."""

    id: uuid.UUID
    received_at: datetime = Field(description="By Seawall's clock; a signature is judged at this moment.")
    reported_by: str


class Backup(BackupReport):
    """One reported backup."""

    id: str
    tenant: str
    environment: str
    reported_at: datetime
    reported_by: str


class ReportedDrill(RestoreDrill):
    """One reported restore drill."""

    id: str
    tenant: str
    environment: str
    reported_at: datetime
    reported_by: str


drilled = {201: {"model": ReportedDrill, "description": "It is new."}}
created = {201: {"model": Backup, "description": "It is new."}}


@router.post(
    "/v1/releases/{app}/{version}/evidence",
    operation_id="registerEvidence",
    status_code=201,
    response_model=Evidence,
)
async def register(
    app: Name,
    version: VersionPath,
    body: EvidenceWish,
    key: IdempotencyKey,
    call: Annotated[Call, may("evidence.write")],
) -> Response:
    """Attest something about a release: scans, rehearsals, a performance baseline, its provenance. The newest of a kind counts."""
    call.check_app(app)

    async def effect(uow: UnitOfWork) -> Answer:
        return Answer(201, _evidence(await service.register_evidence(uow, app, version, body, actor=call.actor)))

    return await once(call, key, effect, transaction=call.platform())


@router.get("/v1/releases/{app}/{version}/evidence", operation_id="listEvidence", response_model=Page[Evidence])
async def list_evidence(
    request: Request,
    app: Name,
    version: VersionPath,
    call: Annotated[Call, may("evidence.read")],
    kind: Annotated[EvidenceKind | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List what was attested about a release, newest first."""
    call.check_app(app)
    after = decode(cursor, uuid.UUID)
    async with call.platform() as uow:
        rows = await uow.evidence.page(app, version, kind, after[0] if after else None, limit + 1)
    return respond(page(request, rows, limit, show=_evidence, position=lambda r: [r.id]))


@router.put(
    "/v1/tenants/{tenant}/environments/{environment}/backups/{backup_id}",
    operation_id="reportBackup",
    response_model=Backup,
    responses=created,  # type: ignore[arg-type]  # FastAPI's keys are int | str, invariant
)
async def report(
    request: Request,
    tenant: Name,
    environment: Name,
    backup_id: BackupPath,
    body: BackupReport,
    call: Annotated[Call, may("backups.report")],
) -> Response:
    """Report a backup, and later that it was checked. No If-Match: a backup never changes, whoever reports it again."""
    async with call.platform() as uow:
        record, new = await service.report_backup(uow, tenant, environment, backup_id, body, actor=call.actor)
    where = f"/v1/tenants/{tenant}/environments/{environment}/backups/{backup_id}"
    return respond(_backup(record), 201 if new else 200, {"Location": absolute(request, where)} if new else {})


@router.get(
    "/v1/tenants/{tenant}/environments/{environment}/backups",
    operation_id="listBackups",
    response_model=Page[Backup],
)
async def list_backups(
    request: Request,
    tenant: Name,
    environment: Name,
    call: Annotated[Call, may("backups.read")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List an environment's backups, newest first."""
    after: Any = decode(cursor, datetime, str)
    async with call.transaction(tenant) as uow:
        rows = await uow.evidence.backups(tenant, environment, after, limit + 1)
    return respond(page(request, rows, limit, show=_backup, position=lambda r: [r.taken_at.isoformat(), r.id]))


@router.put(
    "/v1/tenants/{tenant}/environments/{environment}/restore-drills/{drill_id}",
    operation_id="reportRestoreDrill",
    response_model=ReportedDrill,
    responses=drilled,  # type: ignore[arg-type]  # FastAPI's keys are int | str, invariant
)
async def report_drill(
    request: Request,
    tenant: Name,
    environment: Name,
    drill_id: Annotated[BackupId, Path(description="The reporter's own name for it.")],
    body: RestoreDrill,
    call: Annotated[Call, may("restore-drills.report")],
) -> Response:
    """Report that a backup was restored, to see whether it can be, and how that went. No If-Match: a drill never changes."""
    async with call.platform() as uow:
        record, new = await service.report_drill(uow, tenant, environment, drill_id, body, actor=call.actor)
    where = f"/v1/tenants/{tenant}/environments/{environment}/restore-drills/{drill_id}"
    return respond(_drill(record), 201 if new else 200, {"Location": absolute(request, where)} if new else {})


@router.get(
    "/v1/tenants/{tenant}/environments/{environment}/restore-drills",
    operation_id="listRestoreDrills",
    response_model=Page[ReportedDrill],
)
async def list_drills(
    request: Request,
    tenant: Name,
    environment: Name,
    call: Annotated[Call, may("restore-drills.read")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List an environment's restore drills, newest first."""
    after: Any = decode(cursor, datetime, str)
    async with call.transaction(tenant) as uow:
        rows = await uow.evidence.drills(tenant, environment, after, limit + 1)
    return respond(page(request, rows, limit, show=_drill, position=lambda r: [r.ended_at.isoformat(), r.id]))


def _drill(record: DrillRecord) -> ReportedDrill:
    return ReportedDrill(**{name: getattr(record, name) for name in DrillRecord.__slots__})


def _evidence(record: EvidenceRecord) -> Evidence:
    extra = {"id": record.id, "receivedAt": record.received_at, "reportedBy": record.reported_by}
    return Evidence.model_validate({**record.body, **extra})


def _backup(record: BackupRecord) -> Backup:
    return Backup(**{name: getattr(record, name) for name in BackupRecord.__slots__})
