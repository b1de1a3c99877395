"""One watch per kind on marked objects: list, follow, resume, and list again when the API server has forgotten where we were.

Protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import orjson
import structlog

from controlplane.adapters.fleet.cache import STALE_AFTER
from controlplane.adapters.fleet.nodes import RENEWED_AFTER
from controlplane.adapters.fleet.signs import Signs
from controlplane.adapters.kubernetes.call_metrics import RELISTS
from controlplane.adapters.kubernetes.heartbeat import Heartbeat, is_heartbeat
from controlplane.adapters.kubernetes.identities import reader
from controlplane.adapters.kubernetes.reads import pages
from controlplane.adapters.kubernetes.resources import group_path
from controlplane.adapters.kubernetes.transport import RefusedError, Request, Transport
from controlplane.domain.errors import SeawallError
from controlplane.domain.names import MANAGED_LABEL
from controlplane.ports.clusters import ClusterUnavailableError, Manifest

SELECTOR = {"labelSelector": f"{MANAGED_LABEL}=true"}
_SERVER_ENDS_AFTER = "3600"
"""Seconds after which the server ends a watch in good order; the follow-up resumes where it was."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_log = structlog.get_logger(__name__)


class ExpiredError(Exception):
    """The server no longer knows our resourceVersion (410): list again."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind and where its collection is. `marked`: only objects with Seawall's mark, which a heartbeat proves live; else all, and
    the server ends the watch every few seconds, so that its opening proves it.
    """

    api_version: str
    kind: str
    plural: str
    marked: bool = True

    @property
    def path(self) -> str:
        """Path of the collection across all namespaces."""
        return f"{group_path(self.api_version)}/{self.plural}"


class Takes(Protocol):
    """What a watch feeds."""

    def put(self, obj: Manifest) -> None:
        """Take in an added or modified object."""

    def drop(self, kind: str, namespace: str, name: str) -> None:
        """Forget a deleted object."""

    def replace(self, kind: str, objects: Iterable[Manifest]) -> None:
        """Take in a full list."""


async def whole_lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines of what comes in pieces, until it ends; the last may lack its end of line."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


async def events(pieces: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The events of a watch. Raises `ClusterUnavailableError` for one that is torn: the connection broke off in its middle."""
    async for line in whole_lines(pieces):
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ClusterUnavailableError(
                "A watch broke off in the middle of an event. It goes on where it was."
            ) from error
        yield event


class KindWatch:
    """Keeps one kind of the cache up to date, for as long as `run` runs."""

    def __init__(
        self,
        watched: Watched,
        transport: Transport,
        cache: Takes,
        beat: Heartbeat | None = None,
        signs: Signs | None = None,
        *,
        opened: Callable[[], None] | None = None,
    ) -> None:
        self._watched = watched
        self._transport = transport
        self._cache = cache
        self._beat = beat
        self._signs = signs
        self._opened = opened
        self._query = SELECTOR if watched.marked else {}
        self._hurry = asyncio.Event()
        self._resume_at = ""

    def hurry(self) -> None:
        """Try again now, without waiting for the pause to end."""
        self._hurry.set()

    async def run(self) -> None:
        """List and follow until cancelled. Failures are logged and tried again: liveness is what tells that it fails."""
        version, pause = "", _FIRST_PAUSE
        while True:
            try:
                version = version or await self._list()
                began = time.monotonic()
                version = await self._follow(version)
                pause = _FIRST_PAUSE if time.monotonic() - began > 1 else await self._pause(pause)
            except ExpiredError:
                version = ""
                continue
            except (SeawallError, RefusedError, aiohttp.ClientError, OSError, TimeoutError) as error:
                tell = (
                    _log.warning if pause == _FIRST_PAUSE else _log.debug
                )  # once per breakdown; liveness tells the rest
                tell("watch broke off", kind=self._watched.kind, error=str(error), again_in=round(pause, 2))
                version = self._resume_at
                pause = await self._pause(pause)

    async def _pause(self, seconds: float) -> float:
        self._hurry.clear()
        try:
            await asyncio.wait_for(self._hurry.wait(), seconds * random.uniform(0.5, 1.0))  # noqa: S311 # spreads retries
        except TimeoutError:
            return min(seconds * 2, _LONGEST_PAUSE)
        return _FIRST_PAUSE

    async def _list(self) -> str:
        found: list[Manifest] = []
        version = ""
        self._resume_at = ""
        async for items, at in pages(self._transport, self._watched.path, self._what("list"), self._query):
            version = at
            found += [self._typed(one) for one in items if not is_heartbeat(self._watched.kind, one)]
        self._cache.replace(self._watched.kind, found)
        for one in found:
            if self._signs is not None:
                self._signs.see(self._watched.kind, one["metadata"])
        RELISTS.labels(self._transport.cluster, self._watched.kind).inc()
        return version

    async def _follow(self, version: str) -> str:
        self._resume_at = version
        query = {
            **self._query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": _SERVER_ENDS_AFTER if self._watched.marked else str(RENEWED_AFTER),
        }
        request = Request("GET", self._watched.path, self._what("watch"), reader(), query)
        try:
            async with self._transport.stream(request, STALE_AFTER) as stream:
                if self._beat is not None:
                    self._beat.soon(self._watched.kind)
                if self._opened is not None:
                    self._opened()
                async for event in events(stream.iter_any()):
                    self._take(event)
        except RefusedError as refused:
            if refused.refusal.status == 410:
                raise ExpiredError from refused
            raise
        return self._resume_at

    def _take(self, event: dict[str, Any]) -> None:
        what, obj = event["type"], event["object"]
        if what == "ERROR":
            if obj.get("code") == 410:
                raise ExpiredError
            raise ClusterUnavailableError(f"The watch of {self._watched.kind} ended: {obj.get('message')}.")
        self._resume_at = obj["metadata"]["resourceVersion"]
        if what == "BOOKMARK":
            return
        if self._beat is not None and is_heartbeat(self._watched.kind, obj):
            self._beat.heard(self._watched.kind, obj)
        elif what == "DELETED":
            meta = obj["metadata"]
            self._cache.drop(self._watched.kind, meta.get("namespace", meta["name"]), meta["name"])
            if self._signs is not None:
                self._signs.gone(self._watched.kind, meta.get("namespace", meta["name"]), meta["name"])
        else:
            self._cache.put(self._typed(obj))
            if self._signs is not None:
                self._signs.see(self._watched.kind, obj["metadata"])

    def _typed(self, obj: Manifest) -> Manifest:
        obj["apiVersion"], obj["kind"] = self._watched.api_version, self._watched.kind  # lists leave them out
        return obj

    def _what(self, verb: str) -> str:
        return f"{verb} {'marked' if self._watched.marked else 'all'} objects of kind {self._watched.kind}"


class Watches:
    """All watches of a cluster as tasks."""

    def __init__(self, make: Callable[[Watched], KindWatch], kinds: tuple[Watched, ...], *more: KindWatch) -> None:
        self._watches = [*(make(one) for one in kinds), *more]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start one task per kind."""
        self._tasks = [asyncio.create_task(one.run()) for one in self._watches]

    def hurry(self) -> None:
        """Have those that wait try again now."""
        for one in self._watches:
            one.hurry()

    async def close(self) -> None:
        """End them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
