"""burn-rate: how fast an error budget burns, in two windows each (Google's SRE workbook, chapter 5, "multiwindow, multi-burn-rate alerts").

The query gives the share of bad events over `{window}`. Burn rate = that share / (1 - objective): at 1 the budget lasts exactly its
period. A pair is over when its long and its short window both are: the long one says that it matters, the short one that it goes on.
Before a wave an over-burning budget holds the start (nobody adds risk to a service that is already failing); during one it fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, model_validator

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.quantities import Duration, parse_percent
from controlplane.domain.strategies import Percent
from controlplane.domain.wire import Wire
from controlplane.ports.gates import Evidence, GatePorts, GateScene

from .metric import SignalSpec, judge_unknown
from .scenes import before_a_way_back
from .signals import SHOWN, apart, ask, some, worst_first

WHOLE = Decimal(100)


class Pair(Wire):
    """Two windows that must both burn at this rate."""

    long: Duration
    short: Duration
    rate: float = Field(gt=0, le=1000, description="Times as fast as the budget allows.")

    @model_validator(mode="after")
    def _ordered(self) -> Pair:
        if not timedelta(0) < self.short < self.long:
            raise ValueError("the short window is shorter than the long one, and neither is nothing")
        return self


DEFAULT_PAIRS = (
    Pair(long=timedelta(hours=1), short=timedelta(minutes=5), rate=14.4),
    Pair(long=timedelta(hours=6), short=timedelta(minutes=30), rate=6),
)
"""The workbook's two that page: 2% of a 30-day budget in an hour, 5% in six hours."""


class BurnRateSpec(SignalSpec):
    """`{"burn-rate": {"use": "traefik-5xx", "objective": "99.9%"}}`; the query gives the share of bad events over `{window}`."""

    objective: Percent = Field(description="Share of good events promised, below 100%.")
    pairs: tuple[Pair, ...] = Field(
        default=DEFAULT_PAIRS, min_length=1, max_length=6, description="Any pair over is over."
    )
    over: Literal["wait", "fail"] | None = Field(
        default=None, description="What an over-burning budget does; absent: wait before a wave, else fail."
    )
    interval: Duration = Field(default=timedelta(seconds=30), description="Time between two looks.")

    @model_validator(mode="after")
    def _windowed(self) -> BurnRateSpec:
        if self.budget <= 0:
            raise ValueError("an objective of 100% has no budget to burn")
        if "{window}" not in self.text:
            raise ValueError("the query has no {window}")
        if self.named is not None and not self.named.budget:
            raise ValueError(f"{self.use} gives {self.named.unit}, not a share of bad events")
        return self

    @property
    def budget(self) -> float:
        """Share of events that may be bad."""
        return float(1 - parse_percent(self.objective) / WHOLE)

    @property
    def windows(self) -> list[timedelta]:
        """Every window once."""
        return sorted({window for pair in self.pairs for window in (pair.long, pair.short)})


class BurnRateGate:
    """See the module."""

    kind = "burn-rate"
    spec = BurnRateSpec

    def interval(self, spec: BurnRateSpec) -> float:
        """As the spec says."""
        return spec.interval.total_seconds()

    async def observe(self, spec: BurnRateSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Ask each window, and (where events are counted) how many stand behind the longest."""
        questions = [spec.question(spec.text, window) for window in spec.windows]
        counting = spec.counting(spec.windows[-1])
        answers = await ask([*questions, *([counting] if counting else [])], scene, ports)
        windows = {_name(window): answer for window, answer in zip(spec.windows, answers, strict=False)}
        return {"windows": windows, "asked": list(scene.asked), **({"volume": answers[-1]} if counting else {})}

    def judge(self, spec: BurnRateSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Judge the windows together; a pair that can't be measured in full is unknown unless another one is over."""
        if before_a_way_back(scene):
            return Judged(Verdict.PASS, "a way back waits for no error budget")
        burns = _burns(spec, evidence, scene.now)
        over = [(pair, tenant) for pair in spec.pairs for tenant in burns.over(pair)]
        if over:
            return _over(spec, scene, over, burns)
        if burns.unmeasured:
            return judge_unknown(spec.unknown, burns.unmeasured, [*evidence.get("looks", []), "unknown"])
        worst = max(rate for rates in burns.rates.values() for rate in rates.values())
        return Judged(Verdict.PASS, f"the error budget burns {worst:.2g} times at most", look="good")

    def shown(self, _spec: BurnRateSpec, evidence: Evidence) -> Evidence:
        """The worst values of each window."""
        windows = {name: {**one, **worst_first(one, high=True)} for name, one in evidence["windows"].items()}
        counted = {"volume": worst_first(evidence["volume"], high=False)} if "volume" in evidence else {}
        looks = {"looks": evidence.get("looks", [])[-SHOWN:]}
        return {**evidence, "windows": windows, "asked": evidence["asked"][:SHOWN], **counted, **looks}


@dataclass(frozen=True, slots=True)
class _Burns:
    """Burn rate by window and tenant; `unmeasured`: why they are not whole."""

    rates: Mapping[str, Mapping[str, float]]
    unmeasured: str

    def over(self, pair: Pair) -> list[str]:
        """Who burns at least that fast in both windows."""
        long, short = self.rates.get(_name(pair.long), {}), self.rates.get(_name(pair.short), {})
        return [tenant for tenant, rate in long.items() if rate >= pair.rate and short.get(tenant, 0.0) >= pair.rate]


def _burns(spec: BurnRateSpec, evidence: Evidence, now: datetime) -> _Burns:
    rates: dict[str, dict[str, float]] = {}
    why = ""
    enough = _enough(spec, evidence)
    for name, answer in evidence["windows"].items():
        problem = _unusable(spec, answer, evidence, now)
        why = why or (f"{name}: {problem}" if problem else "")
        values = [] if answer.get("error") or apart(answer["values"]) else answer["values"]
        usable = {one["tenant"]: one["value"] for one in values if one["value"] is not None}
        rates[name] = {t: value / spec.budget for t, value in usable.items() if enough is None or t in enough}
    if (counted := evidence.get("volume")) and counted.get("error"):
        why = why or f"could not count events: {counted['error']}"
    if enough is not None and not why:
        short_of = [t for t in evidence.get("asked", ()) if t not in enough] if enough != {""} else []
        why = f"too few events: {some(short_of)}" if short_of and spec.quiet == "hold" else ""
    if not why and not any(rates.values()):
        why = "nobody has enough events to measure"
    return _Burns(rates, why)


def _unusable(spec: BurnRateSpec, answer: Mapping[str, Any], evidence: Evidence, now: datetime) -> str:
    """Why a window's answer is not whole; empty if it is."""
    if answer.get("error"):
        return f"could not measure: {answer['error']}"
    if not answer["values"]:
        return "the query gives no series"
    if problem := apart(answer["values"]):
        return problem
    if any(one["value"] is None or datetime.fromisoformat(one["at"]) + spec.stale < now for one in answer["values"]):
        return "a sample is NaN or too old"
    seen = {one["tenant"] for one in answer["values"]}
    gone = [] if seen == {""} else [tenant for tenant in evidence.get("asked", ()) if tenant not in seen]
    return f"no series of {some(gone)}" if gone and spec.quiet == "hold" else ""


def _enough(spec: BurnRateSpec, evidence: Evidence) -> set[str] | None:
    """Who has enough events; None: they aren't counted."""
    if "volume" not in evidence:
        return None
    return {one["tenant"] for one in evidence["volume"]["values"] if (one["value"] or 0.0) >= spec.least_volume}


def _over(spec: BurnRateSpec, scene: GateScene, over: list[tuple[Pair, str]], burns: _Burns) -> Judged:
    pair, first = over[0]
    names = tuple(dict.fromkeys(tenant for _, tenant in over if tenant))
    rate = burns.rates[_name(pair.long)][first]
    whose = f" of {some(names)}" if names else ""
    reason = (
        f"the error budget{whose} burns {rate:.3g} times as fast as {spec.objective} allows,"
        f" over {_name(pair.long)} and {_name(pair.short)} (limit {pair.rate:g})"
    )
    if spec.over == "wait" or (spec.over is None and scene.key.place == "before"):
        return Judged(Verdict.WAIT, reason, look="bad")
    return Judged(Verdict.FAIL, reason, tenants=names, look="bad")


def _name(window: timedelta) -> str:
    """A window as people write it: `5m`, `6h`."""
    total = int(window.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if total % size == 0:
            return f"{total // size}{unit}"
    return f"{total}s"
