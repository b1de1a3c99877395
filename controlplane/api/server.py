"""`seawall serve`: the API in uvicorn, drained on SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from controlplane.adapters.telemetry import set_up_logging, set_up_tracing
from controlplane.bootstrap import Container
from controlplane.settings import Settings

from .app import create_app

DRAIN_SECONDS = 20
"""What is being answered when SIGTERM comes has so long to finish."""

log = structlog.get_logger("seawall.serve")


class Server(uvicorn.Server):
    """uvicorn that tells the container when it drains, and ends with exit code 0 after SIGTERM."""

    def __init__(self, config: uvicorn.Config, container: Container) -> None:
        super().__init__(config)
        self.container = container

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM; unlike uvicorn's own, do not raise them again once drained."""
        taken = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, before in taken.items():
                signal.signal(sig, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more connections; streams see `container.draining` and end; the rest may finish."""
        self.container.draining.set()
        super().handle_exit(sig, frame)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Returns when everything in hand was answered, or after `DRAIN_SECONDS`."""
    set_up_logging(settings.log_format)
    set_up_tracing("seawall-api", settings.otlp_endpoint)
    container = Container(settings)
    host, _, port = settings.listen.rpartition(":")
    config = server_config(create_app(container), host.strip("[]") or "127.0.0.1", int(port))
    log.info("serving", address=settings.listen, fleet=settings.fleet_name)
    Server(config, container).run()


def server_config(app: FastAPI, host: str, port: int, *, drain_seconds: int = DRAIN_SECONDS) -> uvicorn.Config:
    """How uvicorn serves the app: no logs of its own, no word about itself."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=drain_seconds,
    )
