"""How a process reaches a simulated fleet: in the same process, or over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from controlplane.adapters.simulated.front import CALL_TIMEOUT, Front, Listener, unavailable
from controlplane.adapters.simulated.wire import LIMIT, decode_error, encode, parse_address
from controlplane.ports.clusters import Manifest

RETRY_EVERY = 0.2
"""Seconds between two tries to connect again."""


class Backend(Protocol):
    """A fleet to call and to watch."""

    async def start(self, listener: Listener, lost: Callable[[], None]) -> None:
        """Feed `listener` the present objects (between RESET and SYNCED), then changes; call `lost` when the feed breaks."""
        ...

    async def call(self, operation: str, **args: Any) -> Any:
        """Do one operation; raises what the world raises, or `ClusterUnavailableError`."""
        ...

    def beat(self) -> None:
        """Touch the heartbeats."""
        ...

    async def close(self) -> None:
        """End the feed."""
        ...


class LocalBackend:
    """The fleet of this process."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self._end: Callable[[], None] | None = None

    async def start(self, listener: Listener, lost: Callable[[], None]) -> None:
        """See `Backend.start`."""
        listener("RESET", {})
        for obj in self.front.snapshot():
            listener("ADDED", obj)
        listener("SYNCED", {})
        self._end = self.front.listen(listener)

    async def call(self, operation: str, **args: Any) -> Any:
        """See `Backend.call`."""
        return await self.front.call(operation, args)

    def beat(self) -> None:
        """See `Backend.beat`."""
        self.front.beat()

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._end:
            self._end()
            self._end = None


class RemoteBackend:
    """A fleet behind a socket; connects again by itself when the connection breaks."""

    def __init__(self, address: str) -> None:
        self._place = parse_address(address)
        self._address = address
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, listener: Listener, lost: Callable[[], None]) -> None:
        """See `Backend.start`. The first connection must succeed within the call's time limit."""
        try:
            reader = await asyncio.wait_for(self._connect(), CALL_TIMEOUT)
        except (OSError, TimeoutError) as error:
            raise unavailable(f"at {self._address} can't be reached ({error!r})", sent=False) from error
        self._task = asyncio.create_task(self._feed(reader, listener, lost))

    async def call(self, operation: str, **args: Any) -> Any:
        """See `Backend.call`."""
        if self._writer is None:
            raise unavailable(f"at {self._address} is not connected", sent=False)
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(encode({"id": number, "op": operation, "args": args}))
        try:
            return await asyncio.wait_for(future, CALL_TIMEOUT + 0.5)
        except TimeoutError as error:
            raise unavailable("did not answer within 5 s", sent=True) from error
        finally:
            self._waiting.pop(number, None)

    def beat(self) -> None:
        """See `Backend.beat`."""
        if self._writer is not None:
            self._writer.write(encode({"op": "beat"}))

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._drop()

    async def _connect(self) -> asyncio.StreamReader:
        if isinstance(self._place, str):
            reader, writer = await asyncio.open_unix_connection(self._place, limit=LIMIT)
        else:
            reader, writer = await asyncio.open_connection(*self._place, limit=LIMIT)
        self._writer = writer
        writer.write(encode({"op": "watch"}))
        return reader

    async def _feed(self, reader: asyncio.StreamReader, listener: Listener, lost: Callable[[], None]) -> None:
        while True:
            listener("RESET", {})
            with contextlib.suppress(ConnectionError):  # the same as an end of the stream: told by `lost` below
                while line := await reader.readline():
                    self._receive(orjson.loads(line), listener)
            self._drop()
            lost()
            reader = await self._reconnect()

    async def _reconnect(self) -> asyncio.StreamReader:
        while True:
            try:
                return await self._connect()
            except OSError:
                await asyncio.sleep(RETRY_EVERY)  # `lost` was told; calls meanwhile raise that it is not connected

    def _receive(self, message: Mapping[str, Any], listener: Listener) -> None:
        if "event" in message:
            obj: Manifest = message["obj"]
            listener(message["event"], obj)
            return
        future = self._waiting.get(message["id"])
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(decode_error(message["error"]))
        else:
            future.set_result(message["result"])

    def _drop(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(unavailable("broke the connection", sent=True))
