"""Three pools, one per database role; never SET ROLE, never autocommit."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from controlplane.domain.errors import DependencyError

from .batch import Batch
from .migrate import sqlalchemy_url
from .uow import PostgresUnitOfWork

log = structlog.get_logger(__name__)

_HINT = text("select set_config('synchronous_commit', 'off', true), pg_notify('seawall_outbox', '')")
_BEGIN = text("select now(), set_config('seawall.tenant', :tenant, true)")
TIMEOUTS = "-c idle_in_transaction_session_timeout=5s -c statement_timeout=30s -c lock_timeout=5s"

# Workers read by key. A plan that the connection keeps from when a table was small would go on reading all of it once it has grown.
_BY_KEY = {"engine": " -c enable_seqscan=off"}

# A server that vanished without a word is noticed within five seconds, when connecting (s) and while waiting for it (ms).
_IMPATIENT = {"connect_timeout": 3, "tcp_user_timeout": 4000, "keepalives_idle": 5, "keepalives_interval": 2}


@dataclass(frozen=True)
class Urls:
    """libpq URLs of the three roles; an absent one means this process never opens that pool."""

    platform: str = ""
    tenant: str = ""
    engine: str = ""


class Database:
    """Opens units of work. See `controlplane.ports.uow.Transactions`. `timeouts`: PostgreSQL's own, as libpq options."""

    def __init__(self, urls: Urls, *, pool_size: int = 10, timeouts: str = TIMEOUTS) -> None:
        self._urls = urls
        self._pool_size = pool_size
        self._timeouts = timeouts
        self._engines: dict[str, AsyncEngine] = {}

    def pool(self, role: str) -> AsyncEngine:
        """The pool of `platform`, `tenant` or `engine`, opened at first use."""
        if role not in self._engines:
            url = getattr(self._urls, role)
            if not url:
                raise DependencyError(
                    f"This process has no database address for the role sw_{role}.", code="database-not-configured"
                )
            options = {
                "options": self._timeouts + _BY_KEY.get(role, ""),
                "application_name": f"seawall-{role}",
                **_IMPATIENT,
            }
            self._engines[role] = create_async_engine(
                sqlalchemy_url(url),
                pool_size=self._pool_size,
                max_overflow=5,
                pool_timeout=5,
                hide_parameters=True,
                connect_args=options,
            )
            event.listen(self._engines[role].sync_engine, "checkout", _refuse_hung_up)
        return self._engines[role]

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[PostgresUnitOfWork]:
        """A transaction of the API's fleet roles."""
        async with self._begin("platform") as uow:
            yield uow

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[PostgresUnitOfWork]:
        """A transaction of the workers."""
        async with self._begin("engine") as uow:
            yield uow

    @asynccontextmanager
    async def tenant(self, name: str) -> AsyncIterator[PostgresUnitOfWork]:
        """A transaction that sees one tenant only (transaction-local setting, read by the row-level policies)."""
        async with self._begin("tenant", tenant=name) as uow:
            yield uow

    @asynccontextmanager
    async def _begin(self, role: str, tenant: str = "") -> AsyncIterator[PostgresUnitOfWork]:
        try:
            async with AsyncSession(self.pool(role), expire_on_commit=False) as session:
                async with session.begin():
                    now = (await Batch(session).rows(_BEGIN, {"tenant": tenant}))[0].now  # together with its BEGIN
                    uow = PostgresUnitOfWork(session, now)
                    yield uow
                if uow.woke:
                    await _hint(session)
        except (OperationalError, InterfaceError) as error:
            raise unavailable(error) from error
        except InternalError as error:
            if isinstance(error.orig, ReadOnlySqlTransaction):  # a standby that is about to be promoted
                raise unavailable(error) from error
            raise
        except PoolTimeoutError as error:
            raise DependencyError(
                "All connections to PostgreSQL are in use; try again in a moment.", code="database-busy"
            ) from error

    async def close(self) -> None:
        """Close every pool."""
        for engine in self._engines.values():
            await engine.dispose()
        self._engines.clear()


def _refuse_hung_up(connection: Any, record: object, proxy: object) -> None:
    """Have the pool open a new connection instead of one that its server has closed; raises `DisconnectionError`.

    Between transactions a server that is there says nothing, so that something to read is its goodbye, or the end of the stream. Looking
    costs no round trip, as asking the server would for each transaction.
    """
    look = select.poll()
    look.register(connection.driver_connection.fileno(), select.POLLIN)
    if look.poll(0):
        raise DisconnectionError("the server has closed the connection")


async def _hint(session: AsyncSession) -> None:
    """Tell the relay that something waits, after the commit: NOTIFY inside it would make commits wait for each other's fsync.

    A hint that fails costs a poll; the transaction is committed either way.
    """
    try:
        async with session.begin():
            await session.execute(_HINT)
    except DBAPIError as error:
        log.info("the relay got no hint, it will poll", error=type(error.orig).__name__)


def unavailable(error: DBAPIError) -> DependencyError:
    """Say that PostgreSQL did not answer. Its own words are left out: they may hold values."""
    kind = type(error.orig).__name__ if error.orig else type(error).__name__
    return DependencyError(
        f"PostgreSQL did not carry out the transaction ({kind}); nothing was written. Try again.",
        code="database-unavailable",
    )
