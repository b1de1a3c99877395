"""Deliveries: which changes go to which webhook subscribers. Planned in the transaction that takes them from the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from controlplane.domain.errors import SeawallError
from controlplane.domain.events_out import Change
from controlplane.domain.webhooks import Webhook
from controlplane.ports.bus import EVENT_PREFIX
from controlplane.ports.expressions import Expressions
from controlplane.ports.stores.outbox import OutboxRow
from controlplane.ports.uow import UnitOfWork

log = structlog.get_logger(__name__)


async def webhooks(uow: UnitOfWork) -> dict[str, Webhook]:
    """Every subscriber in force."""
    found: dict[str, Webhook] = {}
    after: str | None = None
    while page := await uow.configuration.page("webhooks", after, 200):
        found |= {record.name: Webhook.model_validate(record.spec) for record in page}
        after = page[-1].name
    return found


async def plan_deliveries(uow: UnitOfWork, expressions: Expressions, rows: Sequence[OutboxRow]) -> int:
    """Plan a delivery for each event and subscriber that wants it; planning again changes nothing."""
    changes = [Change.of(row.payload) for row in rows if row.subject.startswith(EVENT_PREFIX)]
    if not changes:
        return 0
    added = 0
    for name, webhook in (await webhooks(uow)).items():
        wanted = [change for change in changes if wants(expressions, name, webhook, change)]
        added += await uow.deliveries.add(name, wanted) if wanted else 0
    return added


def wants(expressions: Expressions, name: str, webhook: Webhook, change: Change) -> bool:
    """Whether a subscriber wants a change. A filter that fails lets it through: a subscriber rather gets one too many than loses one."""
    if not webhook.wants(change.type):
        return False
    variables: Mapping[str, object] = {"event": change.variables()}
    try:
        return expressions.test(webhook.filter, variables)
    except SeawallError as error:
        log.warning(
            "a webhook's filter failed; the event is delivered", webhook=name, type=change.type, error=error.detail
        )
        return True
