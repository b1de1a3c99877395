"""Watches for drift alone: metadata of marked objects, whose `managedFields` say who wrote them. No heartbeat, nothing is kept of them.

A watch that is silent because it is dead costs a late sign, never a wrong verdict; its end is noticed within two bookmarks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import aiohttp
import structlog

from controlplane.adapters.fleet.cache import FleetCache
from controlplane.adapters.fleet.signs import Signs
from controlplane.adapters.kubernetes.identities import reader
from controlplane.adapters.kubernetes.reads import pages
from controlplane.adapters.kubernetes.transport import METADATA_ONLY, RefusedError, Request, Transport
from controlplane.adapters.kubernetes.watches import SELECTOR, ExpiredError, Watched, events
from controlplane.domain.errors import SeawallError

_SILENCE = 150.0
"""Seconds without a byte after which a watch is opened anew: the server sends a bookmark about once a minute."""
_PAUSE = 5.0

_log = structlog.get_logger(__name__)


class DriftWatches:
    """One task per kind, started with the first listener."""

    def __init__(self, transport: Transport, signs: Signs, cache: FleetCache, kinds: tuple[Watched, ...]) -> None:
        self._transport = transport
        self._signs = signs
        self._cache = cache
        self._kinds = kinds
        self._tasks: list[asyncio.Task[None]] = []
        self._names = frozenset(one.kind for one in kinds)
        self._known: dict[str, set[tuple[str, str]]] = {}

    def start(self) -> None:
        """Start, once."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._run(one), name=f"drift of {one.kind}") for one in self._kinds]

    def absent(self, namespace: str, objects: Sequence[tuple[str, str]]) -> list[tuple[str, str]] | None:
        """See `Cluster.absent`: by what is known here, and by the cache of the kinds that are watched for their health."""
        gone: list[tuple[str, str]] = []
        for kind, name in objects:
            if kind in self._names:
                known = self._known.get(kind)
                if known is None:
                    return None
                there: bool | None = (namespace, name) in known
            else:
                there = self._cache.holds(kind, namespace, name)
            if there is False:
                gone.append((kind, name))
        return gone

    async def close(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _run(self, watched: Watched) -> None:
        while True:
            try:
                version = await self._list(watched)
                while True:
                    version = await self._follow(watched, version)
            except ExpiredError:
                continue
            except (SeawallError, RefusedError, aiohttp.ClientError, OSError, TimeoutError) as error:
                _log.info("a watch for drift broke off", kind=watched.kind, error=str(error))
                await asyncio.sleep(_PAUSE)

    async def _list(self, watched: Watched) -> str:
        """Take in all objects; what was there at the last list and is not there now is gone."""
        version, seen = "", set[tuple[str, str]]()
        what = f"list marked {watched.kind} objects"
        async for items, at in pages(self._transport, watched.path, what, SELECTOR, metadata_only=True):
            version = at
            for one in items:
                seen.add((one["metadata"].get("namespace", ""), one["metadata"]["name"]))
                self._signs.see(watched.kind, one["metadata"])
        for namespace, name in self._known.get(watched.kind, set()) - seen:
            self._signs.gone(watched.kind, namespace, name)
        self._known[watched.kind] = seen
        return version

    async def _follow(self, watched: Watched, version: str) -> str:
        query = {**SELECTOR, "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version}
        what = f"watch marked {watched.kind} objects"
        request = Request("GET", watched.path, what, reader(), query, accept=METADATA_ONLY)
        try:
            async with self._transport.stream(request, _SILENCE) as stream:
                async for event in events(stream.iter_any()):
                    version = self._take(watched.kind, event)
        except RefusedError as refused:
            if refused.refusal.status == 410:
                raise ExpiredError from refused
            raise
        except TimeoutError:
            with contextlib.suppress(TimeoutError):  # silence is no fault here; go on where it was
                await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        return version

    def _take(self, kind: str, event: dict[str, Any]) -> str:
        known = self._known[kind]
        what, meta = event["type"], event["object"].get("metadata") or {}
        if what == "ERROR":
            raise ExpiredError
        if what == "DELETED":
            known.discard((meta.get("namespace", ""), meta["name"]))
            self._signs.gone(kind, meta.get("namespace", ""), meta["name"])
        elif what != "BOOKMARK":
            known.add((meta.get("namespace", ""), meta["name"]))
            self._signs.see(kind, meta)
        return str(meta["resourceVersion"])
