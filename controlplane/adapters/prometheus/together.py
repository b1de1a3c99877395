"""Asking together: instant queries asked in the same turn of the event loop go to the source in few requests.

An error stays with the query that caused it: when a joined request gets no answer, its queries are asked one by one, and those that
can't be joined are not joined again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controlplane.ports.gates import MetricsError

from .answers import QueryError
from .joining import Instant, joined, requests, told_apart

type Data = Mapping[str, Any]
type Found = Mapping[str, Data | Exception]

REFUSED_KEPT = 10_000


class Together:
    """Asks one source. `ask` sends a query by itself and gives the answer's `data`, or raises MetricsError."""

    def __init__(self, ask: Callable[[Instant], Awaitable[Data]]) -> None:
        self._ask = ask
        self._refused = _Refused()
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def data(self, one: Instant) -> Data:
        """The answer's `data`; raises MetricsError."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(one, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append(waiting)
        return await waiting.answer

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self) -> None:
        waiting, self._waiting = [one for one in self._waiting if not one.answer.done()], []
        for request in requests([one.asked for one in waiting], self._refused.__contains__):
            task = asyncio.create_task(self._answer([waiting[number] for number in request]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: Sequence[_Waiting]) -> None:
        """Answer everybody who waits for a request, whatever happens to it."""
        texts = list(dict.fromkeys(one.asked.promql for one in waiting))
        ask = replace(waiting[0].asked, at=max(one.asked.at for one in waiting))
        found: Found = dict.fromkeys(texts, MetricsError("the metric source is not asked any more"))
        try:
            found = await (self._joined(ask, texts) if len(texts) > 1 else self._one_by_one(ask, texts))
        except MetricsError as error:
            found = dict.fromkeys(texts, error)
        finally:
            _give(waiting, found)

    async def _joined(self, ask: Instant, texts: Sequence[str]) -> Found:
        try:
            parts = told_apart(await self._ask(replace(ask, promql=joined(texts))), len(texts))
        except QueryError:
            found = await self._one_by_one(ask, texts)
            self._refused.add(_spoilers(found))
            return found
        return dict(zip(texts, parts, strict=True))

    async def _one_by_one(self, ask: Instant, texts: Sequence[str]) -> Found:
        async def one(text: str) -> Data | Exception:
            try:
                return await self._ask(replace(ask, promql=text))
            except MetricsError as error:
                return error

        return dict(zip(texts, await asyncio.gather(*map(one, texts)), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Somebody who asked."""

    asked: Instant
    answer: asyncio.Future[Data]


def _give(waiting: Iterable[_Waiting], found: Found) -> None:
    for one in waiting:
        if one.answer.done():
            continue
        answer = found[one.asked.promql]
        if isinstance(answer, Exception):
            one.answer.set_exception(answer)
        else:
            one.answer.set_result(answer)


def _spoilers(found: Found) -> list[str]:
    """Which of a joined request's queries are to blame, seen by what they answered alone: those that failed; all if none did (joined they are too
    much); nobody if all did, since then the source itself is in trouble.
    """
    failed = [text for text, answer in found.items() if isinstance(answer, Exception)]
    return [] if len(failed) == len(found) else failed or list(found)


class _Refused:
    """Texts not to be joined: the last so many (by their hash; one taken for another is only asked alone)."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, text: str) -> bool:
        return hash(text) in self._hashes

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._hashes[hash(text)] = None
            self._hashes.move_to_end(hash(text))
        while len(self._hashes) > REFUSED_KEPT:
            self._hashes.popitem(last=False)
