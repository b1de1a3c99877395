"""The judgement: from a series of looks to a verdict that a person can follow. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from controlplane.domain.gating import Judged, Verdict

from .baseline import within_period
from .eprocess import SPEEDS, EProcess, Harm, average, smallest
from .sides import PERIOD
from .spec import ControlGroupSpec

WIDTH = 0.12
"""Standard deviation of the logarithm of harmful factors about the usual one; a tenth of the weight is spread evenly besides."""
ALONE = 4.0
"""The evidence of the others, without the tenant that drives it most, must at least be worth this."""
SURGE = 2.0
"""A tenant whose volume has grown by so much more than the others' has another public than its past: they must prove it without it."""


@dataclass(frozen=True)
class Weighed:
    """What a series of looks is worth: the e-value's logarithm, the likely factor with a 90% interval (given harm or not at even odds)."""

    log_e: float
    factor: float
    low: float
    high: float
    probability: float


def harm_of(spec: ControlGroupSpec) -> Harm:
    """The effects a spec looks for; mirrored where fewer events are the harm."""
    harm = Harm.spread(spec.harm.least, spec.harm.usual, WIDTH)
    return Harm(-harm.theta, harm.weight) if spec.direction == "down" else harm


def weigh(kind: str, series: Sequence[Sequence[float]], drift: float, harm: Harm) -> Weighed:
    """Run the e-process over a series (rows as `sides` makes them)."""
    processes = [EProcess(tau, harm) for tau in SPEEDS]
    for process in processes:
        own = drift**2 / within_period(process.tau, PERIOD) if kind == "counts" else drift**2
        for seconds, *row in series:
            *numbers, spread, variance = row
            s = math.sqrt(own * spread + variance)
            if kind == "counts":
                process.count(numbers[0], numbers[1], numbers[2], s, seconds)
            else:
                process.measure(numbers[0], numbers[1], s, seconds)
    slowest = min(processes, key=lambda one: float(one.log_e))
    weights = np.exp(slowest.log_posterior)
    theta = np.concatenate([[0.0], harm.theta])
    order = np.argsort(theta)
    reached = np.cumsum(weights[order])
    low, high = (float(theta[order][min(int((reached < p).sum()), theta.size - 1)]) for p in (0.05, 0.95))
    mean = float((weights * theta).sum())
    return Weighed(float(smallest(processes)), math.exp(mean), math.exp(low), math.exp(high), 1 - float(weights[0]))


def judge(spec: ControlGroupSpec, evidence: Mapping[str, Any]) -> Judged:
    """The verdict; what explains it is its `detail`."""
    if evidence.get("error"):
        return Judged(Verdict.UNKNOWN, f"could not measure: {evidence['error']}")
    missing = evidence.get("missing", [])
    if missing:
        return Judged(Verdict.UNKNOWN, f"no data of {_listed(missing)}, which this rollout has changed")
    if not evidence["treated"]:
        return Judged(Verdict.WAIT, "nobody has had the release for a whole look yet")
    if not evidence["series"]:
        return _without_control(spec, evidence)
    harm = harm_of(spec)
    each = [weigh(one["kind"], one["series"], one["drift"], harm) for one in _measures(evidence)]
    said = explanation(spec, evidence, each)
    return replace(_verdict(spec, evidence, _together(each), harm, said), detail=said)


def _measures(evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The first measure, which explains the verdict, and the other one if there is one."""
    return [evidence, *([evidence["also"]] if "also" in evidence else [])]


def _together(each: Sequence[Weighed]) -> float:
    """Logarithm of what all measures are worth: they are of the same tenants and hours, so they may depend on each other in any way."""
    return average([one.log_e for one in each])


def _verdict(
    spec: ControlGroupSpec, evidence: Mapping[str, Any], log_e: float, harm: Harm, said: Mapping[str, Any]
) -> Judged:
    if log_e >= math.log(1 / spec.alpha):
        if spec.alone == "hold" and (carries := _carries(spec, evidence, harm)):
            why = f"{carries} ({said['sentence']}): its campaign, or the release? A person decides"
            return Judged(Verdict.WAIT, why, who="operator")
        return Judged(Verdict.FAIL, said["sentence"])
    if log_e >= math.log(spec.suspect):
        return Judged(Verdict.WAIT, f"suspicious: {said['sentence']}; {said['more']}")
    if evidence["volume"] < spec.min_volume:
        return Judged(Verdict.WAIT, f"{evidence['volume']:g} of {spec.min_volume:g} events of treated tenants seen")
    return Judged(Verdict.PASS, f"no sign of harm: {said['sentence']}")


def least_of_others(alpha: float, surge: float) -> float:
    """Logarithm of the e-value that the others must have without the tenant that drives it most."""
    return math.log(1 / alpha if surge >= SURGE else ALONE)


def _carries(spec: ControlGroupSpec, evidence: Mapping[str, Any], harm: Harm) -> str:
    """Which tenant alone carries the evidence, and why it seems so; empty if none does, or there is but one."""
    measures = [one for one in _measures(evidence) if "alone" in one]
    if not measures:
        return ""
    rest = [weigh(one["kind"], one["alone"]["series"], one["drift"], harm) for one in measures]
    surge = max(one["alone"]["surge"] for one in measures)
    if _together(rest) >= least_of_others(spec.alpha, surge):
        return ""
    more = f" and has {surge:.2g} times the orders that the others lead to expect" if surge >= SURGE else ""
    return f"{_listed(sorted({one['alone']['tenant'] for one in measures}))} alone carries the evidence{more}"


def _without_control(spec: ControlGroupSpec, evidence: Mapping[str, Any]) -> Judged:
    """The last wave, or a small fleet: hard limits only, and it says so."""
    why = f"no control group: fewer than {spec.min_control} tenants are not treated yet"
    if spec.limit is None:
        return Judged(Verdict.UNKNOWN, f"{why}, and the gate has no hard limit (limit.max)")
    if evidence["volume"] < max(spec.min_volume, 1):
        return Judged(
            Verdict.WAIT, f"{why}; {evidence['volume']:g} of {spec.min_volume:g} events seen for the hard limit"
        )
    value = evidence["bad"] / evidence["volume"] if evidence["kind"] == "counts" else evidence["value"]
    said = f"{why}; hard limit only: {value:.4g}, the limit is {spec.limit.max:g}"
    return Judged(Verdict.FAIL if value > spec.limit.max else Verdict.PASS, said)


def explanation(spec: ControlGroupSpec, evidence: Mapping[str, Any], each: Sequence[Weighed]) -> dict[str, Any]:
    """The same in words and round numbers: how sure, who drives it, how much more it needs, what would refute it."""
    first = replace(each[0], log_e=_together(each))
    drivers = [one["tenant"] for one in evidence["tenants"][:3]]
    e = math.exp(min(first.log_e, 700))
    shown = " and ".join(map(_shows, _measures(evidence), each))
    return {
        "sentence": f"treated tenants {shown} what their own past and the untreated lead to expect, "
        f"E = {_round(e)} (stops at {_round(1 / spec.alpha)}), most at {_listed(drivers)}",
        "e": float(f"{e:.4g}"),
        "factor": _factor(first),
        "probabilityOfHarm": round(first.probability, 4),
        "drivers": drivers,
        "more": _more(spec, evidence, first),
        "refuted": _refuted(spec, evidence, first),
        **(
            {"durations": {"e": float(f"{math.exp(min(each[1].log_e, 700)):.4g}"), "factor": _factor(each[1])}}
            if each[1:]
            else {}
        ),
    }


def _shows(evidence: Mapping[str, Any], one: Weighed) -> str:
    does = "take" if evidence["kind"] == "durations" else "show"
    return f"{does} {one.factor:.2f} times ({one.low:.2f} to {one.high:.2f})"


def _factor(one: Weighed) -> list[float]:
    return [round(one.low, 3), round(one.factor, 3), round(one.high, 3)]


def _rates(evidence: Mapping[str, Any]) -> tuple[float, float] | None:
    """The treated side's expected share of bad events, and bad events of both sides per treated order."""
    if evidence["kind"] != "counts" or not evidence["volume"]:
        return None
    events = sum(row[1] + row[2] for row in evidence["series"])
    odds = math.exp(evidence["series"][-1][3])
    return odds / (1 + odds), events / evidence["volume"]


def _needed(nats: float, per_event: float, per_order: float) -> str:
    if nats <= 0:
        return "none"
    if per_event <= 1e-9 or per_order <= 0:
        return "more than this fleet has: drift alone could explain it"
    return f"about {_round(nats / per_event / per_order)} more orders of treated tenants"


def _per_look(evidence: Mapping[str, Any], effect: float, imitated: float) -> float:
    """Nats per look at durations between an effect (log-ratio) and the part of it that drift can imitate (Kullback-Leibler, normal)."""
    noise = max(float(evidence["series"][-1][2]), 1e-6)
    return max(effect - imitated, 0.0) ** 2 / (2 * noise**2)


def _looks(nats: float, per_look: float) -> str:
    if nats <= 0:
        return "none"
    if per_look <= 1e-9:
        return "more than this fleet has: drift alone could explain it"
    looks = math.ceil(nats / per_look)
    return f"about {_round(looks)} more look{'' if looks == 1 else 's'}"


def _more(spec: ControlGroupSpec, evidence: Mapping[str, Any], whole: Weighed) -> str:
    rates = _rates(evidence)
    if rates is None:
        gain = _per_look(evidence, abs(math.log(max(whole.factor, 1e-9))), _s(evidence))
        return f"if it is so, {_looks(math.log(1 / spec.alpha) - whole.log_e, gain)} prove it"
    share, per_order = rates
    gain = _divergence(share, abs(math.log(max(whole.factor, 1e-9))), _s(evidence))
    return f"if it is so, {_needed(math.log(1 / spec.alpha) - whole.log_e, gain, per_order)} prove it"


def _refuted(spec: ControlGroupSpec, evidence: Mapping[str, Any], whole: Weighed) -> str:
    rates = _rates(evidence)
    if rates is None:
        gain = _per_look(evidence, math.log(spec.harm.least), 0.0)
        return f"without harm, {_looks(whole.log_e - math.log(spec.alpha), gain)} refute a factor of {spec.harm.least:g} or more"
    share, per_order = rates
    gain = _divergence(share, math.log(spec.harm.least), 0.0)
    return f"without harm, {_needed(whole.log_e - math.log(spec.alpha), gain, per_order)} refute a factor of {spec.harm.least:g} or more"


def _s(evidence: Mapping[str, Any]) -> float:
    *_, spread, variance = evidence["series"][-1]
    return math.sqrt(evidence["drift"] ** 2 * spread + variance)


def _divergence(share: float, effect: float, imitated: float) -> float:
    """Nats per bad event between an effect (log-ratio) and the part of it that drift can imitate (Kullback-Leibler, binomial)."""
    log_odds = math.log(share / (1 - share))
    p, q = (1 / (1 + math.exp(-(log_odds + one))) for one in (effect, min(imitated, effect)))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _round(value: float) -> str:
    """Two significant digits, written out."""
    return f"{float(f'{value:.2g}'):,.10g}"
