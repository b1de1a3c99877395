"""Finding the one row that is refused: few tries, the right tenant, and nobody else left behind."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.engine import CommandSeen, EffectDone, Faulty
from controlplane.ports.engine import DataFaultError
from controlplane.services.bisection import Bisection

ERROR = DataFaultError("steps: 1 rows written of 2 sent")


@given(st.integers(1, 200), st.data())
def test_the_one_at_fault_is_found_in_few_tries_and_all_others_pass(size: int, data: st.DataObject) -> None:
    tenants = [f"t{n:03}" for n in range(size)]
    bad = data.draw(st.sampled_from(tenants))
    bisection, waiting, passed, tries = Bisection(), set(tenants), set[str](), 0
    fault: Faulty | None = None
    while waiting:
        tick = {tenant for tenant in waiting if bisection.has(tenant)}
        tries += 1
        if bad in tick:
            fault = bisection.refused(tick, ERROR)
            waiting -= {bad} if fault else set()
        else:
            passed |= tick
            waiting -= tick
            bisection.passed()
    assert fault is not None
    assert (fault.tenant, fault.code) == (bad, "data-fault")
    assert "1 rows written of 2 sent" in fault.reason
    assert passed == set(tenants) - {bad}
    assert tries <= 2 * math.ceil(math.log2(size) + 1)
    assert not bisection.going_on


def test_two_at_fault_are_both_found() -> None:
    bisection, found = Bisection(), []
    waiting = {"a", "b", "c", "d"}
    while waiting:
        tick = {tenant for tenant in waiting if bisection.has(tenant)}
        if tick & {"a", "d"}:
            fault = bisection.refused(tick, ERROR)
            if fault:
                found.append(fault.tenant)
                waiting.discard(fault.tenant)
        else:
            waiting -= tick
            bisection.passed()
    assert found == ["a", "d"]


def test_a_refusal_that_is_nobodys_in_particular_is_raised() -> None:
    with pytest.raises(DataFaultError):
        Bisection().refused((), ERROR)


def test_a_refusal_of_more_than_the_tick_was_given_is_raised() -> None:
    bisection = Bisection()
    assert bisection.refused(["a", "b"], ERROR) is None
    with pytest.raises(DataFaultError):
        bisection.refused(["a", "z"], ERROR)


def test_a_persons_words_are_heard_in_every_tick() -> None:
    bisection = Bisection()
    bisection.refused(["a", "b"], ERROR)
    assert bisection.takes(CommandSeen(1, "pause", {}, "mia"))
    assert bisection.takes(EffectDone("a", "apply", "ok"))
    assert not bisection.takes(EffectDone("b", "apply", "ok"))
