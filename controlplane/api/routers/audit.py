"""The audit trail: who did what to what; whether anybody edited it; all of it as lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routers.looks import Since, parse_since
from controlplane.api.routing import feature_router
from controlplane.domain.audit_chain import Anchor, Seal
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Digest
from controlplane.domain.wire import Wire
from controlplane.ports.stores.looks import AuditFilter, AuditRecord
from controlplane.services.audit_chain import Verified, export, verify_some

router = feature_router("audit")

Text = Annotated[str | None, Query(max_length=300)]


class AuditEntry(Wire):
    """Who did what to what."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    tenant: str | None
    detail: dict[str, Any]
    trace_id: str
    seal: int | None = Field(description="Its place in the chain, once sealed (within five seconds).")
    hash: str | None = Field(description="Covers this entry and the hash of the seal before it.")


class SealView(Wire):
    """A place in the chain, and its hash."""

    seal: int
    hash: str


class AnchorView(SealView):
    """A head as the anchor has it, and since when."""

    at: str


class Checked(Wire):
    """How far the chain holds. While `done` is false, ask again with `after` and `hash` of `verifiedTo`."""

    verified_to: SealView
    done: bool = Field(description="The end was reached, or a break.")
    rows: int = Field(description="Rows that this answer followed.")
    broken_at: int | None = Field(description="The first seal that does not hold; null: it holds.")
    problem: str = ""
    anchored: AnchorView | None = Field(description="The newest anchored head that this answer passed through.")
    begins_after: SealView | None = Field(description="Older rows left by the retention policy, up to here.")
    unsealed: int = Field(description="Committed rows that wait for their seal.")
    unsealed_seconds: float = Field(description="How long the oldest of them waits; above 5, no sealer works.")


@router.get("/v1/audit", operation_id="listAudit", response_model=Page[AuditEntry])
async def audit(
    request: Request,
    call: Annotated[Call, may("audit.read")],
    since: Since = None,
    actor: Text = None,
    action: Text = None,
    subject: Text = None,
    tenant: Text = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List who did what to what, newest first."""
    before = decode(cursor, int)
    async with call.transaction() as uow:
        start = parse_since(since, uow.now) if since else None
        wanted = AuditFilter(start, actor, action, subject, tenant)
        rows = await uow.looks.audit(wanted, before[0] if before else None, limit + 1)
    return respond(page(request, rows, limit, show=_entry, position=lambda r: [r.id]))


@router.get("/v1/audit:verify", operation_id="verifyAudit", response_model=Checked)
async def verify_audit(
    call: Annotated[Call, may("audit.read")],
    after: Annotated[int | None, Query(ge=0, le=2**62, description="Go on after this seal.")] = None,
    hash_: Annotated[Digest | None, Query(alias="hash", description="The hash that `after` was found to have.")] = None,
    limit: Annotated[int, Query(ge=1, le=5000, description="Rows to follow in this answer.")] = 2000,
) -> Response:
    """Follow the chain, so many rows at a time, through the anchors that this process can read."""
    if (after is None) != (hash_ is None):
        errors = [FieldError("query/hash", "goes with after"), FieldError("query/after", "goes with hash")]
        raise InvalidError("`after` and `hash` go together: both are `verifiedTo` of the answer before.", errors=errors)
    anchors = await call.container.anchors.read() if call.container.anchors else ()
    start = None if after is None or hash_ is None else Seal(after, hash_)
    found = await verify_some(call.container.database.platform, start, anchors, limit)
    return respond(_checked(found), headers={"Cache-Control": "no-store"})


@router.get(
    "/v1/audit:export",
    operation_id="exportAudit",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export_audit(call: Annotated[Call, may("audit.read")]) -> StreamingResponse:
    """Download the sealed trail as lines of JSON that `seawall audit verify --file` checks without Seawall."""

    async def lines() -> AsyncIterator[bytes]:
        async for line in export(call.container.database.platform):
            yield json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str).encode() + b"\n"

    headers = {"Content-Disposition": 'attachment; filename="audit.ndjson"', "Cache-Control": "no-store"}
    return StreamingResponse(lines(), media_type="application/x-ndjson", headers=headers)


def _checked(found: Verified) -> Checked:
    return Checked(
        verified_to=_seal(found.found.head),
        done=found.done,
        rows=found.rows,
        broken_at=found.found.broken_at,
        problem=found.found.problem,
        anchored=_anchor(found.anchored) if found.anchored else None,
        begins_after=_seal(found.checkpoint.seal) if found.checkpoint else None,
        unsealed=found.waiting,
        unsealed_seconds=round(found.waiting_for.total_seconds(), 1),
    )


def _seal(seal: Seal) -> SealView:
    return SealView(seal=seal.number, hash=seal.hash)


def _anchor(anchor: Anchor) -> AnchorView:
    return AnchorView(seal=anchor.seal.number, hash=anchor.seal.hash, at=anchor.at)


def _entry(record: AuditRecord) -> AuditEntry:
    return AuditEntry(**vars(record))
