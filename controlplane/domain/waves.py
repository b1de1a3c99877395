"""Cutting waves: order, stratification, sizes. Deterministic, whatever order the targets come in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from controlplane.domain.errors import InvalidError
from controlplane.domain.quantities import parse_percent, share_of
from controlplane.domain.selectors import Selector, parse_selector
from controlplane.domain.strategies import MAX_WAVES, Cut, Growth, Strategy, WaveSpec
from controlplane.domain.targets import TargetFacts

REST = "rest"
"""The wave that `unmatched: last` makes."""

_NO_LABEL = 2**63
"""Targets without the order label, or with text in it, come after all that have a number."""


@dataclass(frozen=True)
class Ordered:
    """A target with what the cutter needs again and again: its labels and its place by the order label."""

    facts: TargetFacts
    labels: dict[str, str]
    rank: int


@dataclass(frozen=True)
class CutWave:
    """A wave before its forecast: name, the spec it came from, targets in order."""

    name: str
    spec: WaveSpec
    targets: tuple[TargetFacts, ...]


@dataclass(frozen=True)
class CutResult:
    """Waves that have targets, targets no wave took, and the names of waves that came out empty."""

    waves: tuple[CutWave, ...]
    unmatched: tuple[TargetFacts, ...]
    empty: tuple[str, ...]


def in_order(targets: Sequence[TargetFacts], label: str | None) -> list[Ordered]:
    """Sort: integer label, exposure ascending, tenant, environment.

    Exposure is money per hour if all targets count in one currency; else orders per hour, since amounts in different
    currencies can't be compared without a rate.
    """
    currencies = {t.value_per_order.currency for t in targets if t.value_per_order is not None}
    in_money = len(currencies) == 1 and all(t.value_per_order is not None for t in targets)

    def made(target: TargetFacts) -> tuple[int, Decimal, tuple[str, str], Ordered]:
        labels = target.all_labels()
        rank = _rank(labels.get(label)) if label else _NO_LABEL
        exposure = target.value_per_hour() if in_money else target.orders_per_hour
        return rank, exposure, target.key, Ordered(target, labels, rank)

    return [row[3] for row in sorted(map(made, targets), key=lambda row: row[:3])]


def _rank(text: str | None) -> int:
    digits = (text or "").removeprefix("-")
    return int(text or "") if digits.isascii() and digits.isdigit() and len(digits) <= 18 else _NO_LABEL


def stratified(targets: Sequence[Ordered], keys: Sequence[str]) -> list[Ordered]:
    """Interleave so that every prefix has nearly the whole's mix of `keys`; order within a stratum stays.

    The i-th of a stratum's m targets goes to (2i + 1) / 2m of the way, so a prefix holds of each stratum its share
    rounded to the nearest. Targets with different order labels are never mixed.
    """
    if not keys:
        return list(targets)
    result: list[Ordered] = []
    for _, block in groupby(targets, key=lambda t: t.rank):
        strata: defaultdict[tuple[str, ...], list[Ordered]] = defaultdict(list)
        for target in block:
            strata[tuple(target.labels.get(key, "") for key in keys)].append(target)
        placed = [
            ((2 * i + 1) / (2 * len(members)), -len(members), stratum, target)
            for stratum, members in strata.items()
            for i, target in enumerate(members)
        ]
        result += [row[3] for row in sorted(placed, key=lambda row: row[:3])]
    return result


def growth_sizes(growth: Growth, total: int) -> Iterator[int]:
    """Give the sizes of growing waves over `total` targets: first, first x factor, ... rounded down, until all are in."""
    left, index, exact = total, 0, Decimal(growth.first)
    while left > 0 and (growth.waves is None or index < growth.waves):
        size = min(left, int(exact))
        yield size
        left, index, exact = left - size, index + 1, exact * growth.factor


def cut(strategy: Strategy, targets: Sequence[TargetFacts]) -> CutResult:
    """Put each target into exactly one wave: the first that takes it. Raises InvalidError `too-many-waves`.

    What no wave takes is returned as `unmatched`, or is the last wave `rest` if the strategy says so; that wave
    soaks and asks as the wave before it does.
    """
    left = in_order(targets, strategy.order.label if strategy.order else None)
    everyone = list(left)
    waves: list[CutWave] = []
    empty: list[str] = []
    for spec in strategy.waves:
        selector = parse_selector(spec.cut.selector or "")
        gone: set[tuple[str, str]] = set()
        for name, members in _slices(spec, selector, left, everyone):
            waves.append(CutWave(name, spec, tuple(m.facts for m in members)))
            gone.update(m.facts.key for m in members)
            _check_count(len(waves))
        left = [t for t in left if t.facts.key not in gone]
        if not gone:
            empty.append(spec.name)
    if left and strategy.unmatched == "last":
        waves.append(CutWave(REST, strategy.waves[-1], tuple(t.facts for t in left)))
        left = []
    _check_count(len(waves))
    return CutResult(tuple(waves), tuple(t.facts for t in left), tuple(empty))


def _check_count(count: int) -> None:
    if count > MAX_WAVES:
        raise InvalidError(
            f"The strategy cuts these targets into more than {MAX_WAVES} waves. Let growth start higher or grow faster.",
            code="too-many-waves",
        )


def _slices(
    spec: WaveSpec, selector: Selector, left: Sequence[Ordered], everyone: Sequence[Ordered]
) -> Iterator[tuple[str, list[Ordered]]]:
    """Give the names and members of the waves that one spec makes."""
    cut_ = spec.cut
    keys = cut_.growth.stratify_by if cut_.growth else cut_.stratify_by
    fitting = stratified([t for t in left if selector.matches(t.labels)], keys)
    if cut_.growth is None:
        size = _size(cut_, len(fitting), selector, everyone)
        if fitting:
            yield spec.name, fitting[:size]
        return
    start = 0
    for number, size in enumerate(growth_sizes(cut_.growth, len(fitting)), start=1):
        yield f"{spec.name}-{number}", fitting[start : start + size]
        start += size


def _size(cut_: Cut, fitting: int, selector: Selector, everyone: Sequence[Ordered]) -> int:
    if cut_.count is not None:
        return min(cut_.count, fitting)
    if cut_.percent is not None:
        of = sum(1 for t in everyone if selector.matches(t.labels))
        return min(share_of(parse_percent(cut_.percent), of), fitting)
    return fitting
