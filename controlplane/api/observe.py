"""What surrounds every request: request id, security headers, access log, metrics, and the answer to a bug of ours.

The server span (traceparent in, `http.route`) is FastAPI's own, outside of this.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable

import structlog
from opentelemetry import trace
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.adapters.metrics import HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS

from .problems import internal

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger("seawall.access")


class Observe:
    """ASGI middleware. `fleet` names the fleet on every answer; `secure`: the public address is https."""

    def __init__(self, app: ASGIApp, *, fleet: str = "", secure: bool = False) -> None:
        self.app = app
        fixed = dict(_SECURITY)
        if fleet:
            fixed["seawall-fleet"] = fleet
        if secure:
            fixed["strict-transport-security"] = "max-age=31536000"
        self.fixed = {name.encode(): value.encode("latin-1", "replace") for name, value in fixed.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        given = request.headers.get("x-request-id", "")
        seen = _Seen(given if _REQUEST_ID.match(given) else str(uuid.uuid4()))
        _hide_secret_query(request)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                message["headers"] = self._with_headers(message.get("headers", ()), seen.request_id)
            await send(message)

        with HTTP_IN_FLIGHT.track_inprogress(), structlog.contextvars.bound_contextvars(requestId=seen.request_id):
            try:
                await self.app(scope, receive, answer)
            except Exception as error:  # noqa: BLE001 -- the last door: logged with its traceback, told without it
                response = internal(request, error)
                if seen.status is None:
                    await response(scope, receive, answer)
            finally:
                _note(request, seen)

    def _with_headers(self, headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
        own = list(headers)
        present = {name.lower() for name, _ in own}
        added = [(name, value) for name, value in self.fixed.items() if name not in present]
        return [*own, *added, (b"x-request-id", request_id.encode())]


class _Seen:
    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.started = time.perf_counter()
        self.status: int | None = None


def _hide_secret_query(request: Request) -> None:
    """Signed sources may carry their secret in the query (`code`), which must not reach a trace."""
    if request.url.path.startswith("/v1/hooks/") and request.url.query:
        trace.get_current_span().set_attribute("url.query", "REDACTED")


def _note(request: Request, seen: _Seen) -> None:
    route = getattr(request.scope.get("route"), "path", "other")
    method = request.method if request.method in _METHODS else "other"
    seconds = time.perf_counter() - seen.started
    HTTP_REQUESTS.labels(method, route, f"{(seen.status or 499) // 100}xx").inc()
    HTTP_SECONDS.labels(method, route).observe(seconds)
    if request.url.path in _QUIET:
        return
    state = request.scope.get("state", {})
    principal = state.get("principal")
    log.info(
        "request",
        method=method,
        path=request.url.path,
        route=route,
        status=seen.status,
        ms=round(seconds * 1000, 1),
        principal=principal.id if principal else None,
        problem=state.get("problem"),
    )
