"""Values in six layers: chart < release < tier < cluster < tenant < environment. Later wins, each leaf knows its origin.

Maps merge; scalars and lists replace; `null` deletes, as in Helm. A deleted key stays deleted unless a later layer sets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from controlplane.domain.errors import InvalidError
from controlplane.domain.wire import pointer

Values = dict[str, Any]
"""A tree of JSON values as charts take it; open by nature, hence `Any`."""


MAX_LEVELS = 100
"""How deep values may be nested."""


class Layer(StrEnum):
    """Where a value comes from, in the order in which layers are laid; the last one wins."""

    CHART = "chart"
    RELEASE = "release"
    TIER = "tier"
    CLUSTER = "cluster"
    TENANT = "tenant"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Leaf:
    """One effective value: `pointer` is its JSON pointer (RFC 6901), `origin` the layer that set it."""

    pointer: str
    value: Any
    origin: Layer


@dataclass(frozen=True)
class MergedValues:
    """The effective values, the origin of each leaf, and what was deleted by whom (pointers to layers)."""

    values: Values = field(default_factory=dict)
    origins: dict[str, Layer] = field(default_factory=dict)
    deleted: dict[str, Layer] = field(default_factory=dict)

    def leaves(self) -> list[Leaf]:
        """Every leaf with its origin, in pointer order. A list or an empty map is one leaf."""
        return [Leaf(p, v, self.origins[p]) for p, v in sorted(_leaves(self.values, ""))]


def merge_layers(layers: Mapping[Layer, Values]) -> MergedValues:
    """Lay the given layers over each other in the order of `Layer`, whatever the order of the mapping.

    Raises InvalidError (`values-too-deep`) for values nested deeper than any chart uses.
    """
    merged = MergedValues()
    for layer in Layer:
        if layer in layers:
            _check_depth(layers[layer], layer)
            _lay(merged, merged.values, layers[layer], "", layer)
    return merged


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396 §2): maps merge, `null` removes, anything else replaces. Inputs are not changed."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def helm_overrides(chart: Values, effective: Values) -> Values:
    """What to hand to Helm so that, over the chart's own defaults, it arrives at exactly `effective`.

    Helm lays what it is given over the chart's defaults again; so a default that a layer deleted must be named as `null`.
    """
    result: Values = {}
    for key, value in effective.items():
        default = chart.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            result[key] = helm_overrides(default, value)
        else:
            result[key] = deepcopy(value)
    result.update({key: None for key in chart if key not in effective})
    return result


def _check_depth(values: Values, layer: Layer) -> None:
    level: list[Any] = [values]
    for _ in range(MAX_LEVELS):
        level = [c for v in level for c in (v.values() if isinstance(v, dict) else v) if isinstance(c, dict | list)]
        if not level:
            return
    detail = f"The values of the {layer} layer are nested more than {MAX_LEVELS} levels deep. Flatten them."
    raise InvalidError(detail, code="values-too-deep")


def _lay(merged: MergedValues, target: Values, source: Values, at: str, layer: Layer) -> None:
    for key, value in source.items():
        here = at + pointer((key,))
        if value is None:
            if key in target:
                _forget(merged, target.pop(key), here)
                merged.deleted[here] = layer
            continue
        merged.deleted.pop(here, None)
        if not isinstance(value, dict):
            _forget(merged, target.get(key), here)
            target[key] = deepcopy(value)
            merged.origins[here] = layer
            continue
        _lay_map(merged, target, key, value, here, layer)
    _mark_if_empty(merged, target, at, layer)


def _lay_map(merged: MergedValues, target: Values, key: str, value: Values, here: str, layer: Layer) -> None:
    if not isinstance(target.get(key), dict):
        _forget(merged, target.get(key), here)
        target[key] = {}
    if value:
        merged.origins.pop(here, None)
        _lay(merged, target[key], value, here, layer)
    else:
        _mark_if_empty(merged, target[key], here, layer)


def _mark_if_empty(merged: MergedValues, target: Values, at: str, layer: Layer) -> None:
    if not target and at:
        merged.origins.setdefault(at, layer)


def _forget(merged: MergedValues, value: Any, at: str) -> None:
    for known, _ in _leaves(value, at):
        merged.origins.pop(known, None)


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not at):
        for key, child in value.items():
            yield from _leaves(child, at + pointer((key,)))
    else:
        yield at, value
