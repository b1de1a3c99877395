"""Putting, reading and deleting configuration objects."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.names import digest_of
from controlplane.domain.wire import Wire
from controlplane.ports.stores.configuration import ConfigRecord
from controlplane.ports.uow import UnitOfWork
from controlplane.services.configuration.kinds import Kind

type CheckCurrent = Callable[[ConfigRecord | None], None]
"""Raises if the caller did not see the version in force (`If-Match`)."""


async def put_object[S: Wire](
    uow: UnitOfWork, kind: Kind[S], name: str, spec: S, *, actor: str, check: CheckCurrent
) -> tuple[ConfigRecord, bool]:
    """Put a checked spec in force. Returns the record and whether the object is new.

    A spec equal to the one in force changes nothing. Raises what `check` raises.
    """
    await uow.configuration.lock(kind.plural, name)
    current = await uow.configuration.current(kind.plural, name)
    check(current)
    content = spec.model_dump(mode="json", by_alias=True)
    digest = digest_of(content)
    if current is not None and current.digest == digest:
        return current, False
    if current is not None:
        kind.replaces(current.spec, spec)
    number = await uow.configuration.newest(kind.plural, name) + 1
    record = ConfigRecord(kind.plural, name, number, content, digest, uow.now, actor)
    await uow.configuration.put(record)
    if kind.tells_drivers:
        await uow.freezes.tell_drivers()
    await kind.apply(uow, name, spec)
    subject = f"{kind.singular}/{name}"
    await uow.audit(actor, f"{kind.plural}.put", subject, detail={"version": number, "digest": digest})
    await uow.record(kind.singular, name, "created" if current is None else "changed", data={"version": number})
    return record, current is None


async def get_object(uow: UnitOfWork, kind: str, name: str) -> ConfigRecord:
    """Read the version in force, or with a name such as `careful@7` that version. Raises NotFoundError."""
    plain, _, number = name.partition("@")
    store = uow.configuration
    found = await (store.version(kind, plain, int(number)) if number else store.current(kind, plain))
    if found is None:
        raise NotFoundError(f"There is no {name!r} among the {kind}.")
    return found


async def delete_object[S: Wire](uow: UnitOfWork, kind: Kind[S], name: str, *, actor: str) -> None:
    """Delete an object; its versions stay readable. Raises NotFoundError, and ConflictError `in-use` with who uses it."""
    await uow.configuration.lock(kind.plural, name)
    current = await get_object(uow, kind.plural, name)
    users = await uow.configuration.users(kind.plural, name)
    if users:
        detail = f"The {kind.singular} {name!r} is used by {', '.join(users)}. Change them first."
        raise ConflictError(detail, code="in-use", extra={"usedBy": list(users)})
    await uow.configuration.remove(kind.plural, name)
    if kind.tells_drivers:
        await uow.freezes.tell_drivers()
    await kind.apply(uow, name, None)
    subject = f"{kind.singular}/{name}"
    await uow.audit(actor, f"{kind.plural}.delete", subject, detail={"version": current.version})
    await uow.record(kind.singular, name, "deleted", data={"version": current.version})
