"""The HTTP door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from controlplane import __version__
from controlplane.bootstrap import Container

from . import openapi, problems
from .console import CONSOLE
from .housekeeping import housekeeping
from .observe import Observe
from .routers import ROUTERS

DESCRIPTION = "Event-driven, multi-tenant platform control plane: releases in tenant-aware waves, with a way back for each tenant."


def create_app(container: Container) -> FastAPI:
    """Build the application over the parts of this process; they are closed when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with housekeeping(container):
                yield
        finally:
            await container.close()

    app = FastAPI(
        title="Seawall",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        # FastAPI's own server spans, where a tracer provider is set up; metrics and logs are ours.
        telemetry={"tracing": True, "operation_spans": False, "metrics": False, "logs": False},
    )
    settings = container.settings
    app.add_middleware(Observe, fleet=settings.fleet_name, secure=settings.public_url.startswith("https://"))
    openapi.install(app)
    app.state.container = container
    problems.install(app)
    for router in (*ROUTERS, *CONSOLE):
        app.router.routes.extend(
            router.routes
        )  # as they are: including would build each route a second time, without our rules
    return app
