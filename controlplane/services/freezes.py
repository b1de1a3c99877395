"""The stop button: freeze, thaw."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from controlplane.domain.errors import FieldError, InvalidError, NotFoundError
from controlplane.domain.selectors import selector_from
from controlplane.ports.stores.freezes import FreezeRecord
from controlplane.ports.uow import UnitOfWork


@dataclass(frozen=True)
class FreezeWish:
    """`selector` None: everything."""

    selector: str | None
    reason: str
    until: datetime | None = None


async def freeze(uow: UnitOfWork, wish: FreezeWish, *, actor: str) -> FreezeRecord:
    """Let nothing forward start; ways back go on. Once this commits no driver issues another forward step on it.

    Raises InvalidError: `invalid-selector`, or an `until` that has passed.
    """
    if wish.selector is not None and not selector_from(wish.selector).requirements:
        detail = "An empty selector matches everything. If you mean that, say all: true."
        raise InvalidError(detail, code="invalid-selector", errors=[FieldError("/selector", "is empty")])
    if wish.until is not None and wish.until <= uow.now:
        raise InvalidError("until has passed already.", errors=[FieldError("/until", "has passed already")])
    record = FreezeRecord(uow.new_id(), wish.selector or "", wish.reason, wish.until, uow.now, actor)
    await uow.freezes.add(record)
    await uow.freezes.tell_drivers()
    data = {"selector": record.selector, "all": not record.selector, "reason": record.reason, "until": record.until}
    await uow.audit(actor, "freezes.create", f"freeze/{record.id}", detail=data)
    await uow.record("freeze", str(record.id), "created", data=data)
    return record


async def thaw(uow: UnitOfWork, freeze_id: uuid.UUID, *, actor: str) -> None:
    """End a freeze; ending it again changes nothing. The last freeze of everything opens the fleet. Raises NotFoundError."""
    record = await uow.freezes.get(freeze_id)
    if record is None:
        raise NotFoundError(f"There is no freeze {freeze_id}.")
    if not await uow.freezes.lift(freeze_id, actor):
        return
    await uow.freezes.tell_drivers()
    await uow.audit(actor, "freezes.lift", f"freeze/{freeze_id}", detail={"reason": record.reason})
    await uow.record("freeze", str(freeze_id), "lifted", data={"selector": record.selector})


async def open_after_expiry(uow: UnitOfWork) -> bool:
    """Open the fleet row if the freezes that closed it have ended by time. The sweeper calls this; True if it did."""
    if not await uow.freezes.expired_unnoticed():
        return False
    await uow.freezes.tell_drivers()
    return True
