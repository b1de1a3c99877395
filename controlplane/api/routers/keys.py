"""API keys, and who I am."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.errors import NotFoundError
from controlplane.domain.identity import Role
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.ports.stores.keys import KeyRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services import keys as service

router = feature_router("keys")


class KeyRequest(Wire):
    """A key to issue."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="What it is for, for people.")]
    roles: Annotated[list[Role], Field(min_length=1, max_length=20)]
    tenants: list[Name] = Field(default_factory=list, max_length=100)
    apps: list[Name] = Field(default_factory=list, max_length=100)
    expires_in: Duration = Field(default=service.DEFAULT_LIFE, description="At most 366 days.")


class Key(Wire):
    """A key without its secret. `prefix` is how the secret begins."""

    id: uuid.UUID
    name: str
    prefix: str
    roles: list[str]
    tenants: list[str]
    apps: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None


class IssuedKey(Key):
    """A new key. The secret is shown in this answer only; a repeated request gets the answer without it."""

    secret: str = Field(default="", exclude_if=lambda v: not v, description="Keep it; it is shown once.")


class WhoAmI(Wire):
    """Who Seawall takes the caller for."""

    id: str
    name: str
    kind: str
    roles: list[str]
    tenants: list[str]
    apps: list[str]
    groups: list[str]


@router.get("/v1/whoami", operation_id="whoami", response_model=WhoAmI)
async def whoami(call: Annotated[Call, may("whoami.read")]) -> Response:
    """Say who the caller is, and what it may do and see."""
    who = call.principal
    lists = {"roles": sorted(who.roles), "tenants": sorted(who.tenants), "apps": sorted(who.apps)}
    return respond(WhoAmI(id=who.id, name=who.name, kind=who.kind, groups=sorted(who.groups), **lists))


@router.post("/v1/keys", operation_id="issueKey", status_code=201, response_model=IssuedKey)
async def issue(
    request: Request, body: KeyRequest, key: IdempotencyKey, call: Annotated[Call, may("keys.write")]
) -> Response:
    """Issue an API key; its secret is shown once."""

    async def effect(uow: UnitOfWork) -> Answer:
        record, secret = await service.issue_key(uow, _wish(body), actor=call.actor)
        headers = {"Location": absolute(request, f"/v1/keys/{record.id}")}
        return Answer(201, _shown(record), headers, secret={"secret": secret})

    return await once(call, key, effect)


@router.get("/v1/keys", operation_id="listKeys", response_model=Page[Key])
async def list_keys(
    request: Request, call: Annotated[Call, may("keys.read")], limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List keys in the order of their making, without secrets."""
    after = decode(cursor, uuid.UUID)
    async with call.transaction() as uow:
        rows = await uow.keys.page(after[0] if after else None, limit + 1)
    return respond(page(request, rows, limit, show=_shown, position=lambda r: [r.id]))


@router.get("/v1/keys/{key_id}", operation_id="getKey", response_model=Key)
async def get(key_id: uuid.UUID, call: Annotated[Call, may("keys.read")]) -> Response:
    """Show a key without its secret."""
    async with call.transaction() as uow:
        record = await uow.keys.get(key_id)
    if record is None:
        raise NotFoundError(f"There is no key {key_id}.")
    return respond(_shown(record))


@router.delete("/v1/keys/{key_id}", operation_id="revokeKey", status_code=204, response_class=Response)
async def revoke(key_id: uuid.UUID, call: Annotated[Call, may("keys.write")]) -> Response:
    """Revoke a key: from the next request on it is refused."""
    async with call.transaction() as uow:
        await service.revoke_key(uow, key_id, actor=call.actor)
    return Response(status_code=204)


def _wish(body: KeyRequest) -> service.KeyWish:
    lists = {"roles": frozenset(body.roles), "tenants": frozenset(body.tenants), "apps": frozenset(body.apps)}
    life: timedelta = body.expires_in
    return service.KeyWish(name=body.name, life=life, **lists)


def _shown(record: KeyRecord) -> Key:
    return Key.model_validate({k: v for k, v in vars(record).items() if k != "hash"})
