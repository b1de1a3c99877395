"""Logins of the web console: a key or token is checked once, then a random cookie stands for it until it ends or the key does."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta
from typing import Final

from controlplane.domain.errors import UnauthenticatedError
from controlplane.domain.identity import Principal
from controlplane.ports.stores.sessions import SessionRecord
from controlplane.ports.uow import Transactions, UnitOfWork
from controlplane.services.keys import check_in_force, digest_of_secret, principal_from

KEY_LIFE: Final = timedelta(hours=8)
TOKEN_LIFE: Final = timedelta(hours=1)
"""A token can't be asked again whether it still holds, so its login is short."""


async def open_session(uow: UnitOfWork, principal: Principal) -> tuple[str, datetime]:
    """Log a checked principal in. Returns the cookie's secret, which is nowhere else, and when the login ends."""
    secret = secrets.token_urlsafe(32)
    key_id = uuid.UUID(principal.id.removeprefix("key:")) if principal.kind == "key" else None
    ends = uow.now + (TOKEN_LIFE if key_id is None else KEY_LIFE)
    record = SessionRecord(digest_of_secret(secret), principal.model_dump(mode="json"), key_id, uow.now, ends)
    await uow.sessions.add(record)
    await uow.audit(principal.id, "console.login", f"principal/{principal.id}", detail={"until": ends})
    return secret, ends


async def principal_of_session(transactions: Transactions, secret: str) -> Principal:
    """Say whom a cookie stands for. Raises UnauthenticatedError `session-over`, or what the key behind it raises."""
    async with transactions.platform() as uow:
        record = await uow.sessions.by_hash(digest_of_secret(secret))
        key = await uow.keys.get(record.key_id) if record and record.key_id else None
        now = uow.now
    if record is None or record.expires_at <= now:
        raise UnauthenticatedError("This login is over. Log in again.", code="session-over")
    if record.key_id is None:
        return Principal.model_validate(record.principal)
    return principal_from(check_in_force(key, now))


async def end_session(uow: UnitOfWork, secret: str, *, actor: str) -> None:
    """Log out. Doing it again changes nothing."""
    if await uow.sessions.end(digest_of_secret(secret)):
        await uow.audit(actor, "console.logout", f"principal/{actor}")
