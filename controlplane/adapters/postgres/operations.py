"""Operations in PostgreSQL: one statement for many rows, row counts compared."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.domain.operations import ItemState, OperationState
from controlplane.ports.leases import HeldLease
from controlplane.ports.stores.operations import (
    CancelWish,
    InstalledTarget,
    Item,
    NewItem,
    NewOperation,
    NewStep,
    OperationRecord,
    StepOutcome,
    StepView,
    TakenEnvironment,
)

from . import operations_sql as sql
from .json_text import as_json
from .leases import create_lease, lock_lease, locked_command_seq


class PostgresOperations:
    """See `controlplane.ports.stores.operations.OperationStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, operation: NewOperation) -> None:
        """Insert an operation with items and lease."""
        values = {"id": operation.id, "kind": operation.kind, "tenant": operation.tenant, "by": operation.requested_by}
        await self._session.execute(sql.ADD, {**values, "spec": as_json(operation.spec)})
        rows = [_new_item(n, item) for n, item in enumerate(operation.items)]
        await self._many(sql.ADD_ITEMS, operation.id, rows)
        await create_lease(self._session, "operation", operation.id)

    async def get(self, operation_id: uuid.UUID) -> OperationRecord | None:
        """Read an operation."""
        row = (await self._session.execute(sql.GET, {"id": operation_id})).one_or_none()
        return None if row is None else _operation(row)

    async def page(self, after: uuid.UUID | None, limit: int) -> list[OperationRecord]:
        """List operations."""
        found = await self._session.execute(sql.PAGE, {"after": after, "limit": limit})
        return [_operation(row) for row in found]

    async def items(
        self, operation_id: uuid.UUID, after: int = -1, limit: int = 1_000_000, *, state: str | None = None
    ) -> list[Item]:
        """Items in order."""
        values = {"id": operation_id, "after": after, "limit": limit, "state": state}
        return [_item(row) for row in await self._session.execute(sql.ITEMS, values)]

    async def steps(self, operation_id: uuid.UUID, tenant: str, environment: str) -> list[StepView]:
        """The ledger rows of an item."""
        values = {"id": operation_id, "tenant": tenant, "environment": environment}
        return [StepView(**row._mapping) for row in await self._session.execute(sql.STEPS, values)]  # noqa: SLF001 -- SQLAlchemy's public name

    async def creator_of(self, tenant: str) -> uuid.UUID | None:
        """The operation that onboarded a tenant first."""
        return (await self._session.execute(sql.CREATOR_OF, {"tenant": tenant})).scalar()

    async def open_of(self, tenant: str) -> OperationRecord | None:
        """The unfinished operation of a tenant."""
        row = (await self._session.execute(sql.OPEN_OF, {"tenant": tenant})).first()
        return None if row is None else _operation(row)

    async def hold(self, lease: HeldLease) -> float:
        """Lock and renew the lease."""
        return await lock_lease(self._session, lease)

    def commanded(self, lease: HeldLease) -> bool:
        """Whether a command came that the driver does not know."""
        return locked_command_seq(self._session) > lease.command_seq

    async def lock(self, operation_id: uuid.UUID) -> OperationState | None:
        """Lock an operation's row."""
        state = (await self._session.execute(sql.LOCK, {"id": operation_id})).scalar()
        return None if state is None else OperationState(state)

    async def cancel(self, operation_id: uuid.UUID, actor: str, reason: str) -> None:
        """Append the command."""
        values = {"id": operation_id, "body": as_json({"reason": reason}), "actor": actor}
        (await self._session.execute(sql.CANCEL, values)).one()

    async def cancelled_by(self, operation_id: uuid.UUID) -> CancelWish | None:
        """Who called it off."""
        row = (await self._session.execute(sql.CANCELLED_BY, {"id": operation_id})).first()
        return None if row is None else CancelWish(row.actor, row.reason or "")

    async def note_commands(self, operation_id: uuid.UUID) -> None:
        """Write that commands were taken into account."""
        await self._session.execute(sql.NOTE_COMMANDS, {"id": operation_id})

    async def take_slots(
        self, operation_id: uuid.UUID, places: Sequence[tuple[str, str]], *, dirty_too: bool = False
    ) -> list[TakenEnvironment]:
        """Take free slots, or keep ours."""
        values = {"id": operation_id, "rows": _places(places), "dirty_too": dirty_too}
        found = await self._session.execute(sql.TAKE_SLOTS, values)
        return [TakenEnvironment(**row._mapping) for row in found]  # noqa: SLF001 -- SQLAlchemy's public name

    async def free_slots(self, operation_id: uuid.UUID, places: Sequence[tuple[str, str]]) -> None:
        """Give slots back."""
        await self._session.execute(sql.FREE_SLOTS, {"id": operation_id, "rows": _places(places)})

    async def raise_epochs(self, places: Mapping[tuple[str, str], int]) -> None:
        """Set epochs to at least these."""
        rows = [{"tenant": t, "environment": e, "epoch": epoch} for (t, e), epoch in places.items()]
        await self._session.execute(sql.RAISE_EPOCHS, {"rows": as_json(rows)})

    async def issue(self, operation_id: uuid.UUID, steps: Sequence[NewStep]) -> None:
        """Write steps as ISSUED."""
        await self._many(sql.ISSUE, operation_id, steps)

    async def observe(self, operation_id: uuid.UUID, outcomes: Sequence[StepOutcome]) -> None:
        """Write steps as OBSERVED."""
        await self._many(sql.OBSERVE, operation_id, outcomes)

    async def close_steps(self, operation_id: uuid.UUID) -> int:
        """Close a predecessor's steps."""
        return len((await self._session.execute(sql.CLOSE_STEPS, {"id": operation_id})).all())

    async def save_items(self, operation_id: uuid.UUID, items: Sequence[Item]) -> None:
        """Write items."""
        await self._many(sql.SAVE_ITEMS, operation_id, items)

    async def set_walls(self, walls: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> None:
        """Write walls of environments."""
        rows = [{"tenant": t, "environment": e, "uid": u, "walls": dict(w)} for t, e, u, w in walls]
        await self._many(sql.SET_WALLS, None, rows)

    async def set_state(
        self,
        operation_id: uuid.UUID,
        state: OperationState,
        *,
        waiting_for: Sequence[Mapping[str, Any]] = (),
        due_in: timedelta | None = None,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        """Write where an operation stands."""
        values = {
            "id": operation_id,
            "state": state.value,
            "waiting_for": as_json(list(waiting_for)),
            "due_in": due_in,
            "result": None if result is None else as_json(result),
            "problem": None if problem is None else as_json(problem),
        }
        (await self._session.execute(sql.SET_STATE, values)).one()

    async def installs(self, operation_id: uuid.UUID) -> list[InstalledTarget]:
        """Where installations stand."""
        found = await self._session.execute(sql.INSTALLS, {"id": str(operation_id)})
        return [InstalledTarget(**row._mapping) for row in found]  # noqa: SLF001 -- SQLAlchemy's public name

    async def _many(self, statement: Any, operation_id: uuid.UUID | None, rows: Sequence[object]) -> None:
        """Write rows, mappings or dataclasses, which orjson writes as they are."""
        if not rows:
            return
        values: dict[str, Any] = {"rows": as_json(list(rows))}
        if operation_id is not None:
            values["id"] = operation_id
        written = len((await self._session.execute(statement, values)).all())
        if written != len(rows):
            raise LookupError(f"{len(rows)} rows were to be written and {written} were; nothing is kept")


def _new_item(ordinal: int, item: NewItem) -> dict[str, Any]:
    place = {"ordinal": ordinal, "tenant": item.tenant, "environment": item.environment}
    return {**place, "spec": item.spec, "problem": item.problem}


def _places(places: Sequence[tuple[str, str]]) -> str:
    return as_json([{"tenant": tenant, "environment": environment} for tenant, environment in places])


def _operation(row: Row[Any]) -> OperationRecord:
    found = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name
    return OperationRecord(**{**found, "state": OperationState(found["state"])})


def _item(row: Row[Any]) -> Item:
    found = dict(row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name
    return Item(**{**found, "state": ItemState(found["state"])})
