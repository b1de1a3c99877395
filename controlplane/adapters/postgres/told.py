"""Who was told of a change, as the gate `notice` asks: see `controlplane.ports.notices.Notices`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text

from controlplane.ports.notices import Announced, Asks

from .database import Database
from .notices import PostgresNoticeStore, place_of

_TOLD = text(
    """
    select tenant, at from notices
    where app = :app and release_version = :release and environment = :environment and tenant = any(cast(:tenants as text[]))
    """
)
_ASKS = text("select spec from releases where app = :app and version = :release")


class PostgresNotices:
    """See `controlplane.ports.notices.Notices`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def asks(self, app: str, release: str) -> Asks:
        """Read the release."""
        async with self._database.engine() as uow:
            spec = (await uow.session.execute(_ASKS, {"app": app, "release": release})).scalar_one_or_none() or {}
        return Asks((spec.get("database") or {}).get("change", "none"), tuple(spec.get("risks") or ()))

    async def told(
        self, change: Announced, tenants: Sequence[str], why: str, period: timedelta
    ) -> Mapping[str, datetime]:
        """Give what is missing, then read all."""
        async with self._database.engine() as uow:
            await PostgresNoticeStore(uow.session).give(change, dict.fromkeys(tenants, (why, period)))
            values = {**place_of(change), "tenants": list(tenants)}
            return {row.tenant: row.at for row in await uow.session.execute(_TOLD, values)}
