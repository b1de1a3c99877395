"""The gate on a real Prometheus: what it reads, how often, and that each tenant's own past counts from the first look on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controlplane.adapters.prometheus import Prometheus
from controlplane.domain.gating import Judged, Verdict
from controlplane.gates.control_group import ControlGroupGate
from controlplane.gates.control_group.spec import ControlGroupSpec
from controlplane.ports.gates import Evidence, FleetNow, RangeSeries
from tests.gates.scenes import ports, scene
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40)
LATER = BEGAN + timedelta(minutes=10)
TREATED, UNTOUCHED = ("t0", "t1"), ("t2", "t3", "t4", "t5", "t6", "t7")
USUAL = {t: 0.01 * (1 + n) for n, t in enumerate((*TREATED[::-1], *UNTOUCHED))}
"""Share of each tenant's orders that fail, always: the treated ones are no worse than usual."""
SPEC = ControlGroupSpec.model_validate(
    {"bad": 'window_failed{tenant!=""}', "volume": 'window_orders{tenant!=""}', "history": "P1D", "minVolume": 10}
)


class Counting(Prometheus):
    """Says how often it was asked for a range, and for which."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.spans: list[timedelta] = []

    async def range(self, promql: str, start: datetime, end: datetime, step: timedelta) -> Sequence[RangeSeries]:
        self.spans.append(end - start)
        return await super().range(promql, start, end, step)

    @property
    def histories(self) -> int:
        """How often it was asked for history."""
        return sum(span > timedelta(hours=20) for span in self.spans)


@pytest.fixture
async def source(metric_store: PrometheusServer) -> AsyncIterator[Counting]:
    """A day in which every tenant fails as usual: what each window of an hour or five minutes counted, as recording rules would have it."""
    hours = [at - timedelta(hours=n) for n in range(30, 0, -1) for at in (BEGAN, LATER)]
    minutes = [BEGAN + timedelta(minutes=5 * n) for n in range(9)]
    series = []
    for tenant, share in USUAL.items():
        orders = [(at, 7200.0) for at in hours] + [(at, 600.0) for at in minutes]
        failed = [(at, round(count * share)) for at, count in orders]
        series += [
            Written("window_orders", orders, {"tenant": tenant}),
            Written("window_failed", failed, {"tenant": tenant}),
        ]
    write(metric_store.url, series)
    made = Counting(metric_store.url)
    yield made
    await made.close()


async def look(
    gate: ControlGroupGate, source: Counting, since: dict[str, datetime], *, minutes: int = 40, **spec: Any
) -> tuple[Evidence, Judged]:
    made = SPEC.model_copy(update=spec)
    untouched = frozenset(USUAL) - since.keys()
    here = scene(*TREATED, now=BEGAN + timedelta(minutes=minutes), fleet=lambda: FleetNow(since, untouched))
    evidence = await gate.observe(made, here, ports(source))
    return evidence, gate.judge(made, here, evidence)


async def test_a_past_is_read_and_learnt_once_and_looks_at_each_look(source: Counting) -> None:
    gate, since = ControlGroupGate(), dict.fromkeys(TREATED, BEGAN)
    first, _ = await look(gate, source, since, minutes=30)
    second, judged = await look(gate, source, since)
    assert source.histories == 2  # failed orders, and all
    assert len(second["series"]) == len(first["series"]) + 2
    assert judged.verdict is Verdict.PASS


async def test_a_look_before_anybody_has_the_release_costs_nothing_and_spoils_nothing(source: Counting) -> None:
    """Hours of the past are counted back from the rollout's beginning, which is not known yet."""
    gate = ControlGroupGate()
    _, early = await look(gate, source, {}, minutes=-7)
    assert early.verdict is Verdict.WAIT
    assert source.spans == []
    evidence, judged = await look(gate, source, dict.fromkeys(TREATED, BEGAN))
    assert evidence["expected"] == pytest.approx(evidence["bad"], rel=0.1)
    assert judged.verdict is Verdict.PASS


async def test_a_rollout_whose_first_tenant_went_back_is_compared_with_the_right_hours(source: Counting) -> None:
    gate = ControlGroupGate()
    await look(gate, source, {"t0": BEGAN, "t1": LATER})
    evidence, _ = await look(gate, source, {"t1": LATER})
    assert evidence["expected"] == pytest.approx(evidence["bad"], rel=0.1)


async def test_another_measure_of_the_same_rollout_has_a_past_of_its_own(source: Counting) -> None:
    gate, since = ControlGroupGate(), dict.fromkeys(TREATED, BEGAN)
    await look(gate, source, since)
    evidence, _ = await look(gate, source, since, bad='window_orders{tenant!=""} / 2')
    assert evidence["expected"] == pytest.approx(evidence["bad"], rel=0.1)
    assert source.histories == 4


async def test_who_joins_the_comparison_later_is_learnt_too(source: Counting) -> None:
    gate = ControlGroupGate()
    await look(gate, source, {"t0": BEGAN}, minutes=20)
    evidence, _ = await look(gate, source, dict.fromkeys((*TREATED, "t7"), BEGAN))
    assert {one["tenant"]: one["expected"] for one in evidence["tenants"]}["t7"] == pytest.approx(8 * 48, rel=0.1)


async def test_orders_and_durations_of_the_same_tenants_are_one_gate(source: Counting) -> None:
    gate, since = ControlGroupGate(), dict.fromkeys(TREATED, BEGAN)
    evidence, judged = await look(gate, source, since, duration='window_orders{tenant!=""} / 600')
    assert (evidence["kind"], evidence["also"]["kind"]) == ("counts", "durations")
    assert source.histories == 3
    assert judged.verdict is Verdict.PASS
    assert " and take " in judged.reason
