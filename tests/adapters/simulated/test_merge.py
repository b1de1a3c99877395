"""Server-side apply in small."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.adapters.simulated.merge import apply, leaves, update

_keys = st.sampled_from(["a", "b", "c", "d.e/f"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3) | st.text("xy", max_size=2) | st.just({}) | st.just([]),
    lambda inner: (
        st.dictionaries(_keys, inner, max_size=3)
        | st.lists(st.integers(0, 2), max_size=2)
        | st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["n1", "n2"]), "v": inner}),
            max_size=2,
            unique_by=lambda d: d["name"],
        )
    ),
    max_leaves=8,
)
_objects = st.dictionaries(_keys, _values, max_size=4)


@given(_objects, _objects)
def test_a_sole_owner_gets_exactly_what_it_sent_last(first: dict[str, Any], second: dict[str, Any]) -> None:
    one = apply({}, first, {}, "us")
    two = apply(one.obj, second, one.owners, "us")
    assert dict(leaves(two.obj)) == dict(leaves(second))
    assert not two.taken


@given(_objects)
def test_the_same_apply_twice_changes_nothing(sent: dict[str, Any]) -> None:
    one = apply({}, sent, {}, "us")
    two = apply(one.obj, sent, one.owners, "us")
    assert (two.obj, two.owners, two.taken) == (one.obj, one.owners, {})


def test_a_leaf_that_two_own_stays_when_one_lets_go() -> None:
    one = apply({}, {"spec": {"x": 1, "y": 2}}, {}, "us")
    both = apply(one.obj, {"spec": {"y": 2}}, one.owners, "them")
    left = apply(both.obj, {"spec": {"x": 1}}, both.owners, "us")
    assert left.obj == {"spec": {"x": 1, "y": 2}}


def test_a_leaf_of_somebody_else_is_taken_and_told_only_if_its_value_differs() -> None:
    theirs = update({}, {"spec": {"x": 1, "y": 2}}, {}, "them")
    merged = apply(theirs.obj, {"spec": {"x": 5, "y": 2}}, theirs.owners, "us")
    assert merged.taken == {"spec.x": "them"}
    assert merged.obj == {"spec": {"x": 5, "y": 2}}


def test_items_with_names_are_merged_by_name_and_leave_when_nobody_owns_them() -> None:
    sent = {"containers": [{"name": "web", "image": "1"}, {"name": "side", "image": "1"}]}
    one = apply({}, sent, {}, "us")
    theirs = update(one.obj, {"note": "x"}, one.owners, "them")
    two = apply(theirs.obj, {"containers": [{"name": "web", "image": "2"}]}, theirs.owners, "us")
    assert two.obj == {"containers": [{"name": "web", "image": "2"}], "note": "x"}


def test_an_empty_map_that_is_filled_later_keeps_what_is_in_it() -> None:
    one = apply({}, {"annotations": {}}, {}, "us")
    two = apply(one.obj, {"annotations": {"k": "v"}}, one.owners, "us")
    assert two.obj == {"annotations": {"k": "v"}}
