from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.values import Layer, helm_overrides, merge_layers, merge_patch

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~", max_size=2)
trees = st.recursive(
    st.dictionaries(st.sampled_from(["a", "b", "c/d", "~"]), scalars | st.lists(scalars, max_size=2), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "c/d", "~"]), inner | scalars, max_size=3),
    max_leaves=8,
)
stacks = st.dictionaries(st.sampled_from(list(Layer)), trees)


def test_later_layers_win_and_each_leaf_names_its_origin() -> None:
    merged = merge_layers(
        {
            Layer.ENVIRONMENT: {"web": {"workers": 8}},
            Layer.CHART: {"web": {"workers": 1, "port": 8069}, "cron": {"enabled": True}},
            Layer.TIER: {"web": {"workers": 2, "memory": "1Gi"}},
        }
    )
    assert merged.values == {"web": {"workers": 8, "port": 8069, "memory": "1Gi"}, "cron": {"enabled": True}}
    assert merged.origins == {
        "/web/workers": Layer.ENVIRONMENT,
        "/web/port": Layer.CHART,
        "/web/memory": Layer.TIER,
        "/cron/enabled": Layer.CHART,
    }


def test_a_list_replaces_a_list_whole() -> None:
    merged = merge_layers({Layer.CHART: {"hosts": ["a", "b"]}, Layer.TENANT: {"hosts": ["c"]}})
    assert merged.values == {"hosts": ["c"]}
    assert merged.origins == {"/hosts": Layer.TENANT}


def test_null_deletes_and_says_who_deleted() -> None:
    merged = merge_layers({Layer.CHART: {"a": {"b": 1, "c": 2}}, Layer.CLUSTER: {"a": {"b": None}}})
    assert merged.values == {"a": {"c": 2}}
    assert merged.deleted == {"/a/b": Layer.CLUSTER}
    assert "/a/b" not in merged.origins


def test_a_deleted_key_comes_back_when_a_later_layer_sets_it() -> None:
    merged = merge_layers({Layer.CHART: {"a": {"b": 1}}, Layer.TIER: {"a": None}, Layer.TENANT: {"a": {"c": 2}}})
    assert merged.values == {"a": {"c": 2}}
    assert merged.deleted == {}


@given(stacks)
def test_every_effective_leaf_has_exactly_one_origin_and_no_layer_is_changed(stack: dict[Layer, Any]) -> None:
    before = deepcopy(stack)
    merged = merge_layers(stack)
    assert {leaf.pointer for leaf in merged.leaves()} == set(merged.origins)
    assert stack == before


@given(stacks)
def test_no_null_survives_the_merge(stack: dict[Layer, Any]) -> None:
    def nulls(value: Any) -> bool:
        return value is None or (isinstance(value, dict) and any(nulls(v) for v in value.values()))

    assert not nulls(merge_layers(stack).values)


@given(trees, stacks)
def test_helm_laying_the_overrides_over_the_defaults_arrives_at_the_effective_values(
    chart: dict[str, Any], stack: dict[Layer, Any]
) -> None:
    defaults = merge_layers({Layer.CHART: chart}).values
    effective = merge_layers({**stack, Layer.CHART: defaults}).values
    overrides = helm_overrides(defaults, effective)
    assert merge_layers({Layer.CHART: defaults, Layer.RELEASE: overrides}).values == effective


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_the_rfc_shows(target: Any, patch: Any, result: Any) -> None:
    before = deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


def test_values_nested_without_end_are_refused_and_not_a_crash() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": [deep]}
    with pytest.raises(InvalidError) as caught:
        merge_layers({Layer.TENANT: deep})
    assert caught.value.code == "values-too-deep"
