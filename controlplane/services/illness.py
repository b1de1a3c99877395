"""Tenants that fall ill while no rollout looks at them: noticed by their environments' health, and weighed like all others."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from controlplane.ports.blames import Blames
from controlplane.ports.stores.blames import SettledRow
from controlplane.ports.uow import Transactions

NOBODY: Final = uuid.UUID(int=0)
"""Asks for tenants that are no rollout's concern at the moment."""
ILL_FOR: Final = timedelta(minutes=1)
"""So long an environment must have been ill: pods that are moved or added are no illness."""
AGAIN: Final = timedelta(minutes=5)
"""So often the same ill tenants are weighed again: other changes may have reached others meanwhile."""


class Ward:
    """Remembers whom this process saw well, and since when who of them is ill.

    One that was never seen well is no sign: it may have been ill before any change reached it.
    """

    def __init__(self, ill_for: timedelta = ILL_FOR) -> None:
        self._ill_for = ill_for
        self._well: set[str] = set()
        self._ill: dict[str, datetime] = {}
        self._weighed: tuple[frozenset[str], datetime] | None = None

    def take(self, rows: Sequence[SettledRow], now: datetime) -> Mapping[str, datetime]:
        """Take a look in; gives the tenants to weigh, with since when they are ill: none unless there is news.

        A tenant that is not listed is being changed, or no running rollout has changed it: somebody else looks, or nobody can be stopped.
        """
        listed = {row.tenant: row.health for row in rows}
        self._well = {tenant for tenant, seen in listed.items() if seen == "healthy" or tenant in self._well}
        for tenant, health in listed.items():
            if health == "healthy":
                self._ill.pop(tenant, None)
            elif health != "unknown" and tenant in self._well:
                self._ill.setdefault(tenant, now)
        self._ill = {tenant: since for tenant, since in self._ill.items() if tenant in listed}
        seen = {tenant: since for tenant, since in self._ill.items() if listed[tenant] != "unknown"}
        found = {tenant: since for tenant, since in seen.items() if now >= since + self._ill_for}
        return found if self._is_news(frozenset(found), now) else {}

    def _is_news(self, ill: frozenset[str], now: datetime) -> bool:
        if not ill:
            self._weighed = None
            return False
        if self._weighed is not None and ill <= self._weighed[0] and now < self._weighed[1] + AGAIN:
            return False
        self._weighed = (ill, now)
        return True


async def look(transactions: Transactions, blames: Blames, ward: Ward) -> Mapping[str, str]:
    """Look once; gives the tenants that a change was blamed for."""
    async with transactions.engine() as uow:
        ill = ward.take(await uow.blames.settled(), uow.now)
    return await blames.weigh(NOBODY, ill) if ill else {}
