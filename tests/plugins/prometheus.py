"""A real Prometheus that scrapes a page the test writes, once a second, and whatever else it is told; and takes series over OTLP.

`prometheus.page` is what it scrapes; `await prometheus.sees(query)` waits until an instant query gives something. `metric_store` is one for
the whole session that scrapes nothing: tests write series into it (`tests.support.otlp`), each under tenants of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from controlplane.adapters.embedded.processes import Child, accepts, free_port
from controlplane.adapters.kubernetes.local import ensure_prometheus
from controlplane.adapters.prometheus import Prometheus
from tests.contract.fleets import until_read

SCRAPE_SECONDS = 1


class PrometheusServer:
    """A running Prometheus that scrapes these ports of this machine once a second."""

    def __init__(self, folder: Path, ports: Sequence[int] = ()) -> None:
        self._folder = folder
        self._port = free_port()
        self._config = folder / "prometheus.yml"
        self.scrape(ports)
        argv = [
            str(ensure_prometheus() / "prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-otlp-receiver",
        ]
        self.child = Child("Prometheus", argv, folder / "prometheus.log")
        self.child.await_ready(self._answers, 60)

    def _answers(self) -> bool:
        """Whether it takes queries, which is later than that it listens."""
        return accepts(self._port) and httpx.get(f"{self.url}/-/ready", trust_env=False).is_success

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def scrape(self, ports: Sequence[int]) -> None:
        """Write what to scrape (before it starts)."""
        every = f"{SCRAPE_SECONDS}s"
        body = {
            "global": {"scrape_interval": every, "scrape_timeout": every},
            "scrape_configs": [
                {"job_name": "shops", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            ],
            "storage": {"tsdb": {"out_of_order_time_window": "30d"}},
            "otlp": {"translation_strategy": "NoTranslation"},
        }
        self._config.write_text(yaml.safe_dump(body))

    async def sees(self, query: str) -> None:
        """Wait until the query gives a series."""
        client = Prometheus(self.url)

        async def look() -> bool:
            return bool(await client.query(query, datetime.now(UTC)))

        await until_read(look)
        await client.close()

    def stop(self) -> None:
        """End it."""
        self.child.stop()


class Scraped(PrometheusServer):
    """A running Prometheus and the page it scrapes: a text, or a function that is called at each scrape and gives it."""

    def __init__(self, folder: Path) -> None:
        self.page: str | Callable[[], str] = ""
        scraped = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = scraped.page
                body = (page if isinstance(page, str) else page()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        super().__init__(folder, [self._server.server_port])

    def stop(self) -> None:
        """End both."""
        super().stop()
        self._server.shutdown()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Scraped]:
    """A Prometheus of the test's own (built at first use, then cached)."""
    made = Scraped(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def metric_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that only takes what tests write into it."""
    made = PrometheusServer(tmp_path_factory.mktemp("metrics"))
    yield made
    made.stop()
