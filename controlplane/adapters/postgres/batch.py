"""Many statements in one round trip: libpq's pipeline mode under a SQLAlchemy session.

A driver's transaction is twenty statements that nobody needs an answer of but their row counts. One by one each costs a round trip and a
switch between two processes; queued, they travel together, and the counts are compared when they come back.
Source: https://www.postgresql.org/docs/18/libpq-pipeline-mode.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from controlplane.ports.engine import DataFaultError

type Rows = Sequence[Any]
"""Named tuples, one per row."""
type Answered = Callable[[Rows], None]
"""What to do with a statement's rows."""

_DIALECT: Any = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy does not type it


class RowCountError(DataFaultError):
    """A multi-row write changed another number of rows than it was sent: the transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class _Queued:
    sql: str
    values: Mapping[str, Any]
    answered: Answered | None = None
    count: int | None = None
    what: str = ""

    def take(self, changed: int, rows: Rows) -> None:
        """Compare the count, pass the rows on."""
        if self.count is not None and changed != self.count:
            raise RowCountError(f"{self.what}: {changed} rows written of {self.count} sent")
        if self.answered is not None:
            self.answered(rows)


class Batch:
    """Statements of one transaction, in the order in which they were added.

    Whoever uses the session itself flushes first: what is queued has not been sent.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._queue: list[_Queued] = []

    def add(self, statement: TextClause, values: Mapping[str, Any], answered: Answered | None = None) -> None:
        """Queue a statement; `answered` gets its rows once it was carried out."""
        self._queue.append(_Queued(_sql(statement), values, answered))

    def exactly(self, statement: TextClause, values: Mapping[str, Any], count: int, what: str) -> None:
        """Queue a multi-row write: a row hidden by a policy or a wrong key must not pass silently.

        Sending it raises `RowCountError` if it changed another number of rows.
        """
        self._queue.append(_Queued(_sql(statement), values, count=count, what=what))

    def owes_rows(self) -> bool:
        """Whether somebody waits for rows of what is queued."""
        return any(one.answered for one in self._queue)

    async def rows(self, statement: TextClause, values: Mapping[str, Any]) -> Rows:
        """Send what is queued and this after it; returns its rows. Raises as `flush` does."""
        found: list[Any] = []
        self.add(statement, values, found.extend)
        await self.flush()
        return found

    async def flush(self) -> None:
        """Send what is queued, in one round trip. Raises SQLAlchemy's errors, and whatever `answered` raises."""
        queue, self._queue = self._queue, []
        if not queue:
            return
        connection = await self._session.connection()
        raw: Any = (await connection.get_raw_connection()).driver_connection
        try:
            answers = await _send(raw, queue)
        except psycopg.Error as error:
            wrapped = DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True, dialect=_DIALECT)
            raise wrapped from error
        for one, (changed, rows) in zip(queue, answers, strict=True):
            one.take(changed, rows)


async def _send(raw: psycopg.AsyncConnection[Any], queue: Sequence[_Queued]) -> list[tuple[int, Rows]]:
    async with raw.pipeline():
        cursors = [raw.cursor(row_factory=namedtuple_row) for _ in queue]
        for cursor, one in zip(cursors, queue, strict=True):
            await cursor.execute(one.sql, one.values)
    return [(cursor.rowcount, await cursor.fetchall() if cursor.description else ()) for cursor in cursors]


@cache
def _sql(statement: TextClause) -> str:
    """The statement with the driver's own placeholders."""
    return str(statement.compile(dialect=_DIALECT))
