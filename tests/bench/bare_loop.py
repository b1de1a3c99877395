"""The floor: patch and watch over aiohttp with nothing of Seawall in between but the done rule."""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from pathlib import Path

import aiohttp
import orjson
import yaml

from controlplane.adapters.fleet.states import workload_state
from controlplane.domain.health import Expected, Health, judge_workload
from controlplane.ports.clusters import Manifest

_APPLY = {"Content-Type": "application/apply-patch+yaml"}


class BareLoop:
    """One administrator, one watch on Deployments."""

    def __init__(self, kubeconfig: Path, manager: str = "seawall") -> None:
        self._query = {"fieldManager": manager, "force": "true"}
        config = yaml.safe_load(kubeconfig.read_text())
        self._cluster, self._user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._session: aiohttp.ClientSession | None = None
        self._watch: asyncio.Task[None] | None = None
        self._seen: dict[str, Manifest] = {}
        self._changed: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        """Connect and watch."""
        authority = base64.b64decode(self._cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:
            for key in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(self._user[key]))
            pair.flush()
            context.load_cert_chain(pair.name)
        connector = aiohttp.TCPConnector(ssl=context, limit=128)
        self._session = aiohttp.ClientSession(self._cluster["server"], connector=connector, read_bufsize=2**21)
        self._watch = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """End the watch and the connections."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def apply(self, namespace: str, plural: str, manifest: Manifest) -> Manifest:
        """One forced server-side apply; gives the whole object."""
        assert self._session is not None
        api = manifest["apiVersion"]
        root = f"/apis/{api}" if "/" in api else f"/api/{api}"
        path = f"{root}/namespaces/{namespace}/{plural}/{manifest['metadata']['name']}"
        body = orjson.dumps(manifest)
        async with self._session.patch(path, params=self._query, data=body, headers=_APPLY) as answer:
            answer.raise_for_status()
            made: Manifest = orjson.loads(await answer.read())
            return made

    async def move(self, namespace: str, manifest: Manifest) -> None:
        """Apply a Deployment and wait until it is done at the new generation."""
        meta = (await self.apply(namespace, "deployments", manifest))["metadata"]
        expected = Expected("Deployment", meta["name"], meta["uid"], meta["generation"])
        changed = self._changed.setdefault(namespace, asyncio.Event())
        while True:
            changed.clear()
            seen = self._seen.get(namespace)
            if seen and judge_workload(expected, workload_state(seen)).health is Health.HEALTHY:
                return
            await changed.wait()

    def deployment(self, namespace: str) -> Manifest | None:
        """The namespace's Deployment as the watch showed it last."""
        return self._seen.get(namespace)

    async def _follow(self) -> None:
        assert self._session is not None
        query = {"watch": "1", "labelSelector": "seawall.dev/managed=true", "timeoutSeconds": "3600"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get("/apis/apps/v1/deployments", params=query, timeout=timeout) as answer:
            async for line in answer.content:
                obj = orjson.loads(line)["object"]
                namespace = obj["metadata"].get("namespace", "")
                self._seen[namespace] = {**obj, "kind": "Deployment"}
                self._changed.setdefault(namespace, asyncio.Event()).set()
