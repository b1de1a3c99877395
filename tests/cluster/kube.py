"""A bare client for these tests: what the API server says, with nothing of Seawall in between."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

Json = dict[str, Any]


class Kube:
    """HTTP against one API server as one identity; answers are plain responses, so that refusals can be looked at."""

    def __init__(self, server: str, tls: ssl.SSLContext, headers: Mapping[str, str] | None = None) -> None:
        self._server, self._tls = server, tls
        self._http = httpx.Client(base_url=server, verify=tls, headers=dict(headers or {}), timeout=20, trust_env=False)

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        """As the client certificate in `path`."""
        config = yaml.safe_load(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        tls = _trust(cluster)
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            pair.flush()
            tls.load_cert_chain(pair.name)
        return cls(cluster["server"], tls)

    @classmethod
    def with_token(cls, path: Path, token: str) -> Self:
        """At the server of `path`, but as the bearer of `token`: no client certificate."""
        cluster = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]
        return cls(cluster["server"], _trust(cluster), {"Authorization": f"Bearer {token}"})

    def with_headers(self, headers: Mapping[str, str]) -> Kube:
        """The same identity with more headers, e.g. impersonation."""
        return Kube(self._server, self._tls, {**self._http.headers, **headers})

    @property
    def token(self) -> str:
        """The bearer token this identity uses."""
        return str(self._http.headers["Authorization"]).removeprefix("Bearer ")

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def read(self, path: str) -> Json:
        """GET that must succeed."""
        answer = self._http.get(path)
        assert answer.is_success, answer.text
        return dict(answer.json())

    @asynccontextmanager
    async def watching(self, path: str) -> AsyncIterator[AsyncIterator[Json]]:
        """What is there, then each change, as the server's watch events; `path` ends with a query."""
        headers = dict(self._http.headers)
        async with (
            httpx.AsyncClient(
                base_url=self._server,
                verify=self._tls,
                headers=headers,
                timeout=httpx.Timeout(20, read=None),
                trust_env=False,
            ) as http,
            http.stream("GET", f"{path}&watch=1") as answer,
        ):
            answer.raise_for_status()
            yield (json.loads(line) async for line in answer.aiter_lines() if line)

    def create(self, path: str, body: Json) -> httpx.Response:
        return self._http.post(path, json=body)

    def make(self, path: str, body: Json) -> Json:
        """POST that must succeed."""
        answer = self.create(path, body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def replace(self, path: str, body: Json) -> httpx.Response:
        return self._http.put(path, json=body)

    def merge(self, path: str, body: Json) -> httpx.Response:
        """JSON merge patch."""
        return self._http.patch(path, json=body, headers={"Content-Type": "application/merge-patch+json"})

    def apply(self, path: str, body: Json) -> httpx.Response:
        """Server-side apply as field manager `seawall`, forced."""
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return self._http.patch(path, json=body, headers=headers, params={"fieldManager": "seawall", "force": "true"})

    def delete(self, path: str, options: Json | None = None) -> httpx.Response:
        return self._http.request("DELETE", path, json=options)


def await_true(condition: Callable[[], bool], what: str, within: float = 60) -> None:
    """Poll until `condition` holds; fails with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)


def _trust(cluster: Json) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
