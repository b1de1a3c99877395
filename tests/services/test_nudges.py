"""What wakes a driver at once, and what may wait for something else to wake it."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.services.nudges import Nudges

SHORT = 0.01


@pytest.fixture
def wake() -> asyncio.Event:
    return asyncio.Event()


async def test_what_can_wait_wakes_the_driver_within_its_time(wake: asyncio.Event) -> None:
    nudges = Nudges(wake)
    nudges.soon(SHORT)
    assert not wake.is_set()
    await asyncio.wait_for(wake.wait(), 5)


async def test_what_cannot_wait_takes_with_it_what_could(wake: asyncio.Event) -> None:
    nudges = Nudges(wake)
    nudges.soon(SHORT)
    nudges.now()
    assert wake.is_set()
    wake.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wake.wait(), 10 * SHORT)


async def test_the_first_that_waits_says_when_and_more_of_it_does_not_put_it_off(wake: asyncio.Event) -> None:
    nudges = Nudges(wake)
    nudges.soon(SHORT)
    for _ in range(3):
        nudges.soon(60)
    await asyncio.wait_for(wake.wait(), 5)


async def test_a_shorter_wait_takes_a_longer_one_with_it(wake: asyncio.Event) -> None:
    nudges = Nudges(wake)
    nudges.soon(60)
    nudges.soon(SHORT)
    await asyncio.wait_for(wake.wait(), 5)


async def test_nothing_wakes_a_driver_that_looked_meanwhile_or_ended(wake: asyncio.Event) -> None:
    nudges = Nudges(wake)
    nudges.soon(SHORT)
    nudges.taken()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wake.wait(), 10 * SHORT)
    nudges.soon(SHORT)
    nudges.close()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wake.wait(), 10 * SHORT)
