"""Looking back: changes with what somebody on call asks about them."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.domain.changes import Told, tell
from controlplane.ports.stores.looks import ChangeRecord
from controlplane.ports.uow import UnitOfWork


async def explained(uow: UnitOfWork, records: Sequence[ChangeRecord]) -> list[tuple[ChangeRecord, Told]]:
    """Say of each change what it was, where, what stopped it, and the way back as things stand now: two more queries per page."""
    rollouts = await uow.looks.rollouts({one.id for one in records if one.kind == "rollout"})
    clusters = await uow.looks.clusters_of({one.tenant for one in records if one.tenant})
    return [
        (
            one,
            tell(
                one.kind,
                one.id,
                _change_of(one.type),
                one.tenant,
                one.data,
                rollouts.get(one.id) if one.kind == "rollout" else None,
                clusters.get(one.tenant, ()) if one.tenant else (),
            ),
        )
        for one in records
    ]


def _change_of(event_type: str) -> str:
    return event_type.split(".")[-2]
