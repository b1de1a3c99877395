"""What machines ask: alive, ready, metrics, the API's description."""

from __future__ import annotations

from typing import Literal

from fastapi import Request, Response

from controlplane.adapters.metrics import exposition
from controlplane.api.dependencies import container_of
from controlplane.api.etags import body_of
from controlplane.api.openapi import as_bytes
from controlplane.api.routing import OpenRoute, feature_router
from controlplane.domain.wire import Wire
from controlplane.ports.health import Part

router = feature_router("machine", route_class=OpenRoute)

_NO_STORE = {"Cache-Control": "no-store"}


class Live(Wire):
    """The process runs its loop."""

    status: Literal["ok"] = "ok"


class Ready(Wire):
    """Whether requests may be sent here, and what of its parts stands in the way."""

    ready: bool
    fleet: str
    version: str
    parts: list[Part]


@router.get("/livez", operation_id="livez", response_model=Live)
async def livez() -> Response:
    """Say that the process lives."""
    return Response(body_of(Live()), headers=_NO_STORE, media_type="application/json")


@router.get(
    "/readyz",
    operation_id="readyz",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A needed part is away, or the process is draining."}},
)
async def readyz(request: Request) -> Response:
    """Say whether requests may be sent here, part by part."""
    container = container_of(request)
    parts = await container.parts()
    ready = all(part.state == "ok" or not part.needed for part in parts)
    body = Ready(ready=ready, fleet=container.settings.fleet_name, version=request.app.version, parts=parts)
    return Response(body_of(body), 200 if ready else 503, headers=_NO_STORE, media_type="application/json")


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text."}},
)
async def metrics() -> Response:
    """Expose what this process counts."""
    content, kind = exposition()
    return Response(content, headers={**_NO_STORE, "Content-Type": kind})


@router.get("/v1/openapi.json", operation_id="openapi", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe the API (OpenAPI 3.1)."""
    return Response(as_bytes(request.app.openapi()), media_type="application/json")
