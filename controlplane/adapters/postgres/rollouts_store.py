"""Rollouts on PostgreSQL."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from .rollouts_facts import RolloutFactsQueries
from .rollouts_reads import RolloutReadQueries
from .rollouts_writes import RolloutWriteQueries


class PostgresRollouts(RolloutFactsQueries, RolloutWriteQueries, RolloutReadQueries):
    """See `controlplane.ports.stores.rollouts.RolloutsStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
