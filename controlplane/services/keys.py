"""API keys: issued, shown once, checked, ended."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from controlplane.domain.errors import FieldError, InvalidError, NotFoundError, UnauthenticatedError
from controlplane.domain.identity import CI, TENANT_OWNER, Principal, is_role
from controlplane.ports.stores.keys import KeyRecord
from controlplane.ports.uow import Transactions, UnitOfWork
from controlplane.services.approvals import void_votes_of

PREFIX = "sw_"
SHOWN = 11
"""Characters of a secret that stay readable: `sw_` and eight more, 48 bits of 256."""
DEFAULT_LIFE = timedelta(days=90)
MAX_LIFE = timedelta(days=366)


@dataclass(frozen=True)
class KeyWish:
    """What a key is asked for. `tenants` bind `tenant-owner`, `apps` bind `ci`; both are refused without their role."""

    name: str
    roles: frozenset[str]
    tenants: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    life: timedelta = DEFAULT_LIFE


def digest_of_secret(secret: str) -> str:
    """SHA-256 as hex. A plain hash is enough: the secret is 256 random bits, which nobody can guess from a dump."""
    return hashlib.sha256(secret.encode()).hexdigest()


async def issue_key(uow: UnitOfWork, wish: KeyWish, *, actor: str) -> tuple[KeyRecord, str]:
    """Make a key. Returns its record and its secret, which is nowhere else. Raises InvalidError."""
    _check(wish)
    secret = PREFIX + secrets.token_urlsafe(32)
    record = KeyRecord(
        id=uow.new_id(),
        name=wish.name,
        prefix=secret[:SHOWN],
        hash=digest_of_secret(secret),
        roles=tuple(sorted(wish.roles)),
        tenants=tuple(sorted(wish.tenants)),
        apps=tuple(sorted(wish.apps)),
        created_at=uow.now,
        created_by=actor,
        expires_at=uow.now + wish.life,
    )
    await uow.keys.add(record)
    detail = {"name": wish.name, "prefix": record.prefix, "roles": list(record.roles), "expiresAt": record.expires_at}
    await uow.audit(actor, "keys.issue", f"key/{record.id}", detail=detail)
    return record, secret


async def revoke_key(uow: UnitOfWork, key_id: uuid.UUID, *, actor: str) -> None:
    """End a key at once, and votes said with it whose gates have not decided. Again changes nothing. Raises NotFoundError."""
    record = await uow.keys.get(key_id)
    if record is None:
        raise NotFoundError(f"There is no key {key_id}.")
    if await uow.keys.revoke(key_id, uow.now):
        await void_votes_of(uow, f"key:{key_id}", by=actor, reason="the key it was said with was revoked")
        await uow.audit(actor, "keys.revoke", f"key/{key_id}", detail={"name": record.name, "prefix": record.prefix})


async def principal_of_key(transactions: Transactions, secret: str) -> Principal:
    """Check a key's secret. Raises UnauthenticatedError `invalid-key`, `expired-key` or `revoked-key`."""
    async with transactions.platform() as uow:
        record = await uow.keys.by_hash(digest_of_secret(secret))
        now = uow.now
    return principal_from(check_in_force(record, now))


def check_in_force(record: KeyRecord | None, now: datetime) -> KeyRecord:
    """Give the key back if it may be used now. Raises UnauthenticatedError `invalid-key`, `revoked-key` or `expired-key`."""
    if record is None:
        raise UnauthenticatedError("This API key is not known here. Check that it is complete.", code="invalid-key")
    if record.revoked_at is not None:
        raise UnauthenticatedError(
            f"The API key {record.prefix}... was revoked. Ask for a new one.", code="revoked-key"
        )
    if record.expires_at <= now:
        expired = record.expires_at.isoformat(timespec="seconds")
        raise UnauthenticatedError(
            f"The API key {record.prefix}... expired at {expired}. Ask for a new one.", code="expired-key"
        )
    return record


def principal_from(record: KeyRecord) -> Principal:
    """Say whom a key stands for."""
    return Principal(
        id=f"key:{record.id}",
        name=record.name,
        kind="key",
        roles=frozenset(record.roles),
        tenants=frozenset(record.tenants),
        apps=frozenset(record.apps),
    )


def _check(wish: KeyWish) -> None:
    found = []
    if not wish.roles:
        found.append(FieldError("/roles", "a key needs at least one role"))
    found += [FieldError("/roles", f"{r!r} is not a role") for r in sorted(wish.roles) if not is_role(r)]
    for role, names, field in ((TENANT_OWNER, wish.tenants, "tenants"), (CI, wish.apps, "apps")):
        if (role in wish.roles) != bool(names):
            found.append(FieldError(f"/{field}", f"role {role} and {field} go together: give both or neither"))
    if not timedelta(0) < wish.life <= MAX_LIFE:
        found.append(FieldError("/expiresIn", f"a key lives at most {MAX_LIFE.days} days, and longer than no time"))
    if found:
        raise InvalidError(f"The key can't be issued: {found[0].detail}.", errors=found)
