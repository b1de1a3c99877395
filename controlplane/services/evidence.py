"""Taking in what others attest: evidence about releases, backups of tenants and drills of restoring them."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.backups import BackupReport, RestoreDrill
from controlplane.domain.errors import ConflictError, FieldError, InvalidError, NotFoundError
from controlplane.domain.evidence import AHEAD, EvidenceWish
from controlplane.ports.stores.evidence import BackupRecord, DrillRecord, EvidenceRecord
from controlplane.ports.stores.tenants import TenantEvent
from controlplane.ports.uow import UnitOfWork


async def register_evidence(
    uow: UnitOfWork, app: str, version: str, wish: EvidenceWish, *, actor: str
) -> EvidenceRecord:
    """Append an attestation to a release. Raises NotFoundError, InvalidError `evidence-from-the-future`.

    A signature is not judged here but each time a gate looks, against the trust in force then.
    """
    if not await uow.evidence.lock_release(app, version):
        raise NotFoundError(f"There is no release {app}/{version}.")
    if wish.at > uow.now + AHEAD:
        detail = f"at ({wish.at:%Y-%m-%dT%H:%M:%SZ}) lies in the future. Say when it was measured."
        raise InvalidError(detail, code="evidence-from-the-future", errors=[FieldError("/at", "lies in the future")])
    body = wish.model_dump(mode="json", by_alias=True)
    record = EvidenceRecord(uow.new_id(), app, version, wish.kind, wish.at, body, uow.now, actor)
    await uow.evidence.add(record)
    name, signed = f"{app}/{version}", wish.envelope is not None
    detail_data = {"kind": wish.kind, "passed": wish.passed, "signed": signed, "evidence": record.id}
    await uow.audit(actor, "evidence.register", f"release/{name}", detail=detail_data)
    await uow.record("release", name, "attested", data={"app": app, "kind": wish.kind, "passed": wish.passed})
    return record


async def report_backup(
    uow: UnitOfWork, tenant: str, environment: str, backup_id: str, report: BackupReport, *, actor: str
) -> tuple[BackupRecord, bool]:
    """Note a backup, or that one was checked. Returns it and whether it is new.

    Raises NotFoundError, ConflictError `backup-exists` (another time, size or place under the same id), InvalidError
    `backup-from-the-future`.
    """
    if not await uow.evidence.has_environment(tenant, environment):
        raise NotFoundError(f"There is no environment {environment!r} of tenant {tenant!r}.")
    late = report.checked_at if report.checked_at is not None else report.taken_at
    if late > uow.now + AHEAD:
        raise InvalidError(
            "The backup lies in the future. Say when it was taken, and checked.",
            code="backup-from-the-future",
            errors=[FieldError("/takenAt", "lies in the future")],
        )
    known = await uow.evidence.backup(tenant, environment, backup_id)
    fields = (report.taken_at, report.size, report.checked_at, report.location)
    stored = await uow.evidence.put_backup(
        BackupRecord(tenant, environment, backup_id, *fields, reported_by=actor, reported_at=uow.now)
    )
    if (stored.taken_at, stored.size, stored.location) != (report.taken_at, report.size, report.location):
        raise ConflictError(
            f"Backup {backup_id} of {tenant} ({environment}) was reported with another time, size or place, and backups never "
            "change. Report it under an id of its own.",
            code="backup-exists",
        )
    if known is None or known.checked_at != stored.checked_at:
        detail = {"backup": backup_id, "environment": environment, "checked": stored.checked_at is not None}
        await uow.audit(actor, "backups.report", f"tenant/{tenant}", tenant=tenant, detail=detail)
    return stored, known is None


async def report_drill(
    uow: UnitOfWork, tenant: str, environment: str, drill_id: str, drill: RestoreDrill, *, actor: str
) -> tuple[DrillRecord, bool]:
    """Note a restore drill. Returns it and whether it is new: the same again changes nothing.

    Raises NotFoundError, ConflictError `restore-drill-exists` (another report under the same id), InvalidError
    `restore-drill-from-the-future`.
    """
    if await uow.tenants.get(tenant, lock=True) is None or not await uow.evidence.has_environment(tenant, environment):
        raise NotFoundError(f"There is no environment {environment!r} of tenant {tenant!r}.")
    if drill.ended_at > uow.now + AHEAD:
        raise InvalidError(
            "The restore drill ends in the future. Report it once it is over.",
            code="restore-drill-from-the-future",
            errors=[FieldError("/endedAt", "lies in the future")],
        )
    record = DrillRecord(tenant, environment, drill_id, **dict(drill), reported_by=actor, reported_at=uow.now)
    stored, new = await uow.evidence.put_drill(record)
    if replace(stored, reported_by=actor, reported_at=uow.now) != record:
        raise ConflictError(
            f"Restore drill {drill_id} of {tenant} ({environment}) was reported otherwise, and drills never change. Report this one "
            "under an id of its own.",
            code="restore-drill-exists",
        )
    if new:
        data = {"environment": environment, "drill": drill_id, "result": drill.result, "backup": drill.backup}
        times = {"startedAt": drill.started_at.isoformat(), "endedAt": drill.ended_at.isoformat()}
        await uow.tenants.record([TenantEvent(tenant, "restoreDrilled", {**data, **times})])
        await uow.audit(actor, "restore-drills.report", f"tenant/{tenant}", tenant=tenant, detail=data)
    return stored, new
