"""Arithmetic on amounts of cluster resources, by the name a ResourceQuota knows them by."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from controlplane.domain.quantities import parse_quantity

Resources = dict[str, Decimal]
"""Base units (cores, bytes, pieces) by name, e.g. `requests.cpu`, `pods`, `count/jobs.batch`."""

_ZERO = Decimal(0)
_ALIASES = {"cpu": "requests.cpu", "memory": "requests.memory"}


def parse_resources(amounts: Mapping[str, str | int]) -> Resources:
    """Read a ResourceQuota's `hard` or `used`; `cpu` and `memory` mean their requests. Raises ValueError."""
    return {_ALIASES.get(name, name): parse_quantity(amount) for name, amount in amounts.items()}


def add(*amounts: Mapping[str, Decimal]) -> Resources:
    """The sum, name by name."""
    result: Resources = {}
    for one in amounts:
        for name, amount in one.items():
            result[name] = result.get(name, _ZERO) + amount
    return result


def times(amounts: Mapping[str, Decimal], factor: int) -> Resources:
    """Each amount multiplied."""
    return {name: amount * factor for name, amount in amounts.items()}


def largest(*amounts: Mapping[str, Decimal]) -> Resources:
    """The maximum, name by name; a missing amount is zero."""
    result: Resources = {}
    for one in amounts:
        for name, amount in one.items():
            result[name] = max(result.get(name, _ZERO), amount)
    return result
