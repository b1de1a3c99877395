"""A watch's bytes become lines, however the network cut them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.adapters.kubernetes.watches import events, whole_lines
from controlplane.ports.clusters import ClusterUnavailableError

LINES = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=8)
HALF = st.binary(max_size=5).map(lambda end: end.replace(b"\n", b""))


def lines_of(pieces: list[bytes]) -> list[bytes]:
    async def arriving() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def read() -> list[bytes]:
        return [line async for line in whole_lines(arriving())]

    return asyncio.run(read())


@given(lines=LINES, half=HALF, cuts=st.sets(st.integers(0, 200)))
def test_lines_come_whole_and_in_order_and_the_last_may_lack_its_end(
    lines: list[bytes], half: bytes, cuts: set[int]
) -> None:
    sent = b"".join(line + b"\n" for line in lines) + half
    at = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    assert lines_of([sent[a:b] for a, b in itertools.pairwise(at)]) == [*lines, *([half] if half else [])]


async def test_an_event_that_is_torn_ends_the_watch_after_those_that_came_whole() -> None:
    async def arriving() -> AsyncIterator[bytes]:
        yield b'{"type":"ADDED"}\n{"type":"MOD'

    taken = events(arriving())
    assert await anext(taken) == {"type": "ADDED"}
    with pytest.raises(ClusterUnavailableError, match="in the middle of an event"):
        await anext(taken)
