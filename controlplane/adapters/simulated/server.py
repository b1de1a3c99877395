"""A simulated fleet behind a socket, so that the API and all workers of one machine see the same one."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import orjson
import structlog

from controlplane.adapters.simulated.front import Front
from controlplane.adapters.simulated.wire import LIMIT, encode, encode_error, parse_address
from controlplane.domain.errors import SeawallError
from controlplane.ports.clusters import Manifest

_log = structlog.get_logger(__name__)


class FleetServer:
    """Serves one `Front` on a unix socket or a loopback port."""

    def __init__(self, front: Front, address: str, snapshot: Path | None = None) -> None:
        self.front = front
        self.address = address
        self._snapshot = snapshot
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Load the snapshot if there is one, and listen. `address` then holds the port really taken."""
        if self._snapshot and self._snapshot.exists():
            self.front.world.load(orjson.loads(self._snapshot.read_bytes()))
        place = parse_address(self.address)
        if isinstance(place, str):
            Path(place).unlink(missing_ok=True)  # noqa: ASYNC240 # once, before serving
            self._server = await asyncio.start_unix_server(self._serve, place, limit=LIMIT)
            return
        self._server = await asyncio.start_server(self._serve, *place, limit=LIMIT)
        self.address = f"{place[0]}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening, drop the connections and save the snapshot."""
        if self._server:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._server:
            await self._server.wait_closed()
        self.save()

    def save(self) -> None:
        """Write the snapshot, whole or not at all."""
        if self._snapshot is None:
            return
        self._snapshot.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._snapshot.parent, delete=False) as out:
            out.write(orjson.dumps(self.front.world.dump()))
        os.replace(out.name, self._snapshot)  # noqa: PTH105 # atomic, and Path.replace of a str name says less

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)

        def changed(what: str, obj: Manifest) -> None:
            writer.write(encode({"event": what, "obj": obj}))

        end = None
        try:
            while line := await reader.readline():
                message = orjson.loads(line)
                if message["op"] == "watch":
                    for obj in self.front.snapshot():
                        changed("ADDED", obj)
                    writer.write(encode({"event": "SYNCED", "obj": {}}))
                    end = self.front.listen(changed)
                elif message["op"] == "beat":
                    self.front.beat()
                else:
                    self._answer(writer, message)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            _log.info("client of the simulated fleet left", error=str(error))
        finally:
            if end:
                end()
            self._writers.discard(writer)
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        task = asyncio.create_task(self._one(writer, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"id": message["id"]}
        try:
            reply["result"] = await self.front.call(message["op"], message["args"])
        except SeawallError as error:
            reply["error"] = encode_error(error)
        except Exception as error:  # noqa: BLE001 # a bug of the fleet must reach the caller as an error, not as silence
            _log.exception("the simulated fleet failed", operation=message["op"])
            reply["error"] = encode_error(SeawallError(f"The simulated fleet failed in {message['op']}: {error!r}."))
        if not writer.is_closing():
            writer.write(encode(reply))
