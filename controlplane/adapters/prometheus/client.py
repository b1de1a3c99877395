"""One query endpoint.

Protocol: https://prometheus.io/docs/prometheus/latest/querying/api/ (`vector` and `scalar` results; `matrix` of range queries). Thanos is told to
answer in full or not at all (`partial_response`); the others take no notice of that.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from controlplane.ports.gates import MetricsError, RangeSeries, Series

from .answers import QueryError, data_of, matrix_of, series_of
from .joining import Instant
from .together import Together

TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER = 64 * 2**20
SKEW = timedelta(minutes=1)
AT_ONCE = 64
"""Connections to one source: what is asked beyond waits its turn within the timeout."""


class Token(Protocol):
    """Where a bearer token comes from."""

    async def get(self) -> str:
        """The token as it is now; raises MetricsError when there is none."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class Prometheus:
    """One query endpoint. `ca`: certificates (PEM) to trust instead of the machine's; connections are made at first use.

    `skew`: how far the source's clock (its `Date`) may be from the moment asked for: when ours has jumped back, the values of then would
    look like those of now. None: any moment may be asked for.
    """

    def __init__(
        self,
        url: str,
        token: Token | None = None,
        *,
        ca: Path | None = None,
        timeout: float = TIMEOUT_SECONDS,
        skew: timedelta | None = None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/api/v1"
        self._token = token
        self._ca = ca
        self._timeout = timeout
        self._skew = skew
        self._session: aiohttp.ClientSession | None = None
        self._together = Together(self.instant)

    async def query(self, promql: str, at: datetime, stale: timedelta | None = None) -> Sequence[Series]:
        """Evaluate an instant query at a moment, or up to 0.1 s later: what is asked at once goes out together (`joining`)."""
        return series_of(await self._together.data(Instant(promql, at, stale)))

    async def instant(self, one: Instant) -> Mapping[str, Any]:
        """The `data` of the answer to one query, asked by itself; raises MetricsError."""
        form = {"query": one.promql, "time": f"{one.at.timestamp():.3f}", "partial_response": "false"}
        if one.stale is not None:
            form["lookback_delta"] = f"{one.stale.total_seconds():.3f}"
        return await self._ask("query", form, one.at)

    async def range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> Sequence[RangeSeries]:
        """Evaluate a range query."""
        times = {
            "start": f"{start.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step.total_seconds():.3f}",
        }
        return matrix_of(await self._ask("query_range", {"query": promql, **times, "partial_response": "false"}, None))

    async def _ask(self, path: str, form: Mapping[str, str], at: datetime | None) -> Mapping[str, Any]:
        """The answer's `data`; raises MetricsError for anything but a success. `at`: a moment that should be now on the source's clock."""
        headers = {"Authorization": f"Bearer {await self._token.get()}"} if self._token else {}
        address = f"{self._url}/{path}"
        try:
            async with self._connected().post(address, data=form, headers=headers, allow_redirects=False) as answer:
                found = data_of(answer.status, await _body(answer))
                if at is not None:
                    self._check_clock(answer.headers.get("Date", ""), at)
                return found
        except TimeoutError as error:
            raise QueryError(f"the metric source did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise MetricsError(f"the metric source did not answer ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close connections; what is still asked is not answered."""
        await self._together.close()
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._token is not None:
            await self._token.close()

    def _check_clock(self, date: str, at: datetime) -> None:
        if self._skew is None:
            return
        try:
            apart = parsedate_to_datetime(date) - at
        except (ValueError, TypeError) as error:
            raise MetricsError("the metric source does not say what time it is there") from error
        if abs(apart) > self._skew:
            raise MetricsError(f"the metric source's clock is {apart.total_seconds():.0f} s from ours")

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=_trust(self._ca), limit=AT_ONCE),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                trust_env=False,
            )
        return self._session


def _trust(ca: Path | None) -> ssl.SSLContext | bool:
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise MetricsError(f"the metric source's CA file {ca.name} can't be read ({type(error).__name__})") from error


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_chunked(2**16):
        body += part
        if len(body) > LARGEST_ANSWER:
            raise QueryError(f"the metric source answered more than {LARGEST_ANSWER // 2**20} MiB")
    return bytes(body)
