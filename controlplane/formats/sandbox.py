"""Warm, limited subprocesses that run Helm's engine (`helm_worker.py`), and the pool that hands them out.

A process costs half a second to start and a render a few milliseconds, so processes are kept; one that was ended by its
limits is replaced. Calls block: they belong in the sandbox's own threads (`run`), one for each process.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty, LifoQueue
from typing import IO, Any

from controlplane.domain.errors import DependencyError, InvalidError

CPU_SECONDS = 10
WALL_SECONDS = 30
START_SECONDS = 60
MAX_ANSWER_BYTES = 64 << 20
RENEW_AFTER = 5000  # calls, so that what the library may leak stays bounded

Message = dict[str, Any]
_WORKER = Path(__file__).with_name("helm_worker.py")


class _EndedError(Exception):
    """The process ended, by its limits or otherwise."""


class _Process:
    """One worker. Not thread-safe: the pool lends it to one caller at a time."""

    def __init__(self) -> None:
        self.calls = 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8", "GOMAXPROCS": "1", "GOGC": "400", "GOTRACEBACK": "none"},
            cwd="/",
            start_new_session=True,  # a Ctrl-C for the parent must not look like a bad chart
        )
        try:
            self.isolated = bool(self._exchange(None, START_SECONDS)["isolated"])
        except _EndedError as error:
            raise DependencyError(
                "The renderer for Helm charts does not start. Check that helm-python-sdk is installed and its library loads.",
                code="renderer-unavailable",
            ) from error

    def call(self, requests: Sequence[Message], archives: Mapping[str, bytes]) -> list[Message]:
        """Send a batch; send along the charts the process does not know yet."""
        self.calls += 1
        batch: Message = {"cpuSeconds": CPU_SECONDS + len(requests) // 20, "requests": [dict(r) for r in requests]}
        for _ in range(len(archives) + 1):
            answer = self._exchange(batch, WALL_SECONDS + len(requests) // 10)
            missing = answer.get("missing")
            if missing is None:
                return list(answer["answers"])
            for request in batch["requests"]:
                for key, field in (("chart", "archive"), ("first", "firstArchive"), ("second", "secondArchive")):
                    if request.get(key) == missing and field not in request:
                        request[field] = base64.b64encode(archives[missing]).decode()
        raise _EndedError

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _exchange(self, batch: Message | None, seconds: float) -> Message:
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert self._process.stdin is not None  # noqa: S101 - both were asked for as pipes
            assert self._process.stdout is not None  # noqa: S101 - as above, it was asked for
            if batch is not None:
                data = json.dumps(batch).encode()
                self._process.stdin.write(struct.pack(">Q", len(data)) + data)
                self._process.stdin.flush()
            return _read_message(self._process.stdout)
        except OSError as error:
            raise _EndedError from error
        finally:
            timer.cancel()


def _read_message(stream: IO[bytes]) -> Message:
    header = stream.read(8)
    if len(header) < 8:
        raise _EndedError
    length = struct.unpack(">Q", header)[0]
    if length > MAX_ANSWER_BYTES:
        raise _EndedError
    data = stream.read(length)
    if len(data) < length:
        raise _EndedError
    return dict(json.loads(data))


class Sandbox:
    """A pool of at most `size` workers, started when first needed. Thread-safe."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or max(1, min(4, os.cpu_count() or 1))
        self._permits = threading.BoundedSemaphore(self.size)
        self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="render")
        self._idle: LifoQueue[_Process] = LifoQueue()

    async def run[**P, R](self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run blocking work in one of the sandbox's threads, so that the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))

    def call(self, requests: Sequence[Message], archives: Mapping[str, bytes] | None = None) -> list[Message]:
        """Run a batch, one answer per request. `archives` holds the bytes of charts by the key requests name them with.

        Raises `InvalidError` (`chart-does-not-render`) when the process was ended by its limits on memory, CPU or time,
        and `DependencyError` (`renderer-unavailable`) when none can be started.
        """
        with self._permits:
            process = self._take()
            try:
                answers = process.call(requests, archives or {})
            except _EndedError as error:
                process.close()
                raise InvalidError(
                    f"Rendering was stopped: it took more than {CPU_SECONDS} s of CPU time or too much memory. "
                    "Look for a template or a value that grows without bound.",
                    code="chart-does-not-render",
                ) from error
            except BaseException:
                process.close()
                raise
            self._give_back(process)
            return answers

    def close(self) -> None:
        """End the idle workers; the next call starts one again."""
        self._drain(lambda process: process.close())

    def _take(self) -> _Process:
        try:
            return self._idle.get_nowait()
        except Empty:
            return _Process()

    def _give_back(self, process: _Process) -> None:
        if process.calls >= RENEW_AFTER:
            process.close()
        else:
            self._idle.put(process)

    def _drain(self, what: Callable[[_Process], None]) -> None:
        while True:
            try:
                what(self._idle.get_nowait())
            except Empty:
                return
