"""A real Prometheus that scrapes a page the test writes, once a second.

`prometheus.page` is what it scrapes; `await prometheus.sees(query)` waits until an instant query gives something.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controlplane.adapters.embedded.processes import Child, accepts, free_port
from controlplane.adapters.kubernetes.local import ensure_prometheus
from controlplane.adapters.prometheus import Prometheus
from tests.contract.fleets import until_read

_CONFIG = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: shops
    static_configs: [ {{ targets: ["127.0.0.1:{port}"] }} ]
"""


class Scraped:
    """A running Prometheus and the page it scrapes."""

    def __init__(self, folder: Path) -> None:
        self.page = ""
        scraped = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = scraped.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(port=self._server.server_port))
        argv = [
            str(ensure_prometheus() / "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self.child = Child("Prometheus", argv, folder / "prometheus.log")
        self.child.await_ready(lambda: accepts(self._port), 60)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    async def sees(self, query: str) -> None:
        """Wait until the query gives a series."""
        client = Prometheus(self.url)

        async def look() -> bool:
            return bool(await client.query(query, datetime.now(UTC)))

        await until_read(look)
        await client.close()

    def stop(self) -> None:
        """End both."""
        self.child.stop()
        self._server.shutdown()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Scraped]:
    """A Prometheus of the test's own (built at first use, then cached)."""
    made = Scraped(tmp_path)
    yield made
    made.stop()
