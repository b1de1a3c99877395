"""Raw JSON over the Kubernetes client's own transport: its configuration, TLS and authentication, but dictionaries.

The client's typed models cost 40% of the throughput (275 against 449 applies a second), so they are left out.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient

from controlplane.adapters.kubernetes.call_metrics import CALL_SECONDS, outcome_of
from controlplane.adapters.kubernetes.errors import Refusal, read_refusal, to_error
from controlplane.adapters.kubernetes.fairness import Fairness, flow_of
from controlplane.adapters.kubernetes.session import Session
from controlplane.ports.clusters import ClusterUnavailableError

CALL_TIMEOUT = 5.0
"""Seconds for one call, for the server too: `timeout=5s` on every mutating call, so that none takes effect later."""
LIST_TIMEOUT = 30.0
"""Seconds for one page of a list."""
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Accept headers: of the object that was written, its metadata is all we need."""


class RefusedError(Exception):
    """The API server answered 400 or more. Inside the adapter only: it leaves as one of the port's errors."""

    def __init__(self, refusal: Refusal, what: str) -> None:
        super().__init__(f"{what}: {refusal.status} {refusal.message}")
        self.refusal = refusal
        self.what = what


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `what` names it for a person, e.g. `apply Deployment web in acme-fr`."""

    method: str
    path: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = JSON
    accept: str = JSON
    timeout: float = CALL_TIMEOUT

    @property
    def mutates(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer."""

    status: int
    body: dict[str, Any]


class Transport:
    """Calls to one API server. Obeys `Retry-After`: after a 429 no call of that priority level leaves before its time."""

    def __init__(self, client: ApiClient, cluster: str = "") -> None:
        self._session = Session(client)
        self.cluster = cluster
        self._host = str(client.configuration.host).rstrip("/")
        self._fairness = Fairness(cluster)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def call(self, request: Request) -> Answer:
        """Send, read, parse. Raises `RefusedError`, or `ClusterUnavailableError` for 429, 5xx, timeouts and broken connections."""
        self._obey(request)
        timeout, began, outcome = aiohttp.ClientTimeout(total=request.timeout), time.perf_counter(), "broken"
        try:
            response = await self._send(request, timeout)
            body = await response.read()
            outcome = outcome_of(response.status)
            self._fairness.answered(flow_of(request.method, request.headers), response.status, response.headers)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _broken(error, request) from error
        finally:
            CALL_SECONDS.labels(self.cluster, request.method, outcome).observe(time.perf_counter() - began)
        if response.status < 400:
            return Answer(response.status, orjson.loads(body) if body else {})
        raise self._refused(read_refusal(response.status, body, response.headers.get("Retry-After")), request)

    @asynccontextmanager
    async def stream(self, request: Request, silence: float) -> AsyncIterator[aiohttp.StreamReader]:
        """Open a watch; reading from it fails with TimeoutError after `silence` seconds without a byte."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT, sock_read=silence)
        try:
            response = await self._send(request, timeout)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _broken(error, request) from error
        try:
            if response.status >= 400:
                refusal = read_refusal(response.status, await response.read(), response.headers.get("Retry-After"))
                raise self._refused(refusal, request)
            yield response.content
        finally:
            response.close()

    async def _send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = {"Accept": request.accept, "Content-Type": request.content_type, **request.headers}
        query = {**request.query, **({"timeout": f"{request.timeout:.0f}s"} if request.mutates else {})}
        url = f"{self._host}{request.path}" + (f"?{urlencode(query)}" if query else "")
        return await self._session.send(request.method, url, headers, request.body, limits)

    def _obey(self, request: Request) -> None:
        left = self._fairness.wait(flow_of(request.method, request.headers))
        if left > 0:
            detail = f"Could not {request.what}: the API server asked for {left:.1f} s of quiet. Repeat after that."
            wait = max(1, round(left + 0.5))
            raise ClusterUnavailableError(detail, code="cluster-busy", retry_after=wait, extra={"sent": False})

    def _refused(self, refusal: Refusal, request: Request) -> Exception:
        error = to_error(refusal, request.what)
        if not isinstance(error, ClusterUnavailableError) or refusal.status == 409:
            return RefusedError(refusal, request.what)
        if error.code == "cluster-busy" and error.retry_after:
            self._fairness.quiet(flow_of(request.method, request.headers), error.retry_after)
        return error


def _broken(error: Exception, request: Request) -> ClusterUnavailableError:
    sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    reason = (
        f"no answer within {request.timeout:.0f} s"
        if isinstance(error, TimeoutError)
        else str(error) or type(error).__name__
    )
    advice = "Look at the object before repeating." if sent and request.mutates else "Repeat it."
    detail = f"Could not {request.what}: {reason}. {advice}"
    return ClusterUnavailableError(detail, extra={"sent": sent})
