from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.selectors import SelectorError, labels_of, parse_selector, selector_from

LABELS = {"ring": "pilot", "tier": "standard", "country": "fr", "size": "7", "seawall.dev/kind": "shop", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("ring=pilot", True),
        ("ring==pilot", True),
        ("ring = pilot , country = fr", True),
        ("ring=other", False),
        ("ring!=pilot", False),
        ("ring!=other", True),
        ("missing!=x", True),
        ("tier in (standard,premium)", True),
        ("tier in (basic)", False),
        ("tier notin (basic, premium)", True),
        ("missing notin (x)", True),
        ("ring", True),
        ("missing", False),
        ("!missing", True),
        ("!ring", False),
        ("size>6", True),
        ("size>7", False),
        ("size<8,size>6", True),
        ("ring>1", False),
        ("missing<3", False),
        ("seawall.dev/kind=shop", True),
        ("empty=", True),
        ("ring=", False),
        ("empty in (,x)", True),
        ("ring=pilot,country=de", False),
    ],
)
def test_a_selector_means_what_it_means_in_kubernetes(text: str, *, matches: bool) -> None:
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("ring=pilot,", 11, "requirement expected"),
        ("ring in pilot", 8, r"'\(' expected"),
        ("ring in (a", 10, r"',' or '\)' expected"),
        ("ring=pilot country=fr", 11, "',' expected"),
        ("=pilot", 0, "label key expected"),
        ("-ring=x", 0, "'-ring' is not a valid label key"),
        ("ring=a b", 7, "',' expected"),
        ("ring=-x", 5, "'-x' is not a valid label value"),
        ("size>many", 5, "'many' is not a valid whole number"),
        ("!", 1, "label key expected"),
        ("a,,b", 2, "label key expected"),
        ("(a)", 0, "label key expected"),
    ],
)
def test_an_unreadable_selector_is_refused_with_the_position(text: str, position: int, problem: str) -> None:
    with pytest.raises(SelectorError, match=problem) as caught:
        parse_selector(text)
    assert caught.value.position == position
    assert f"character {position + 1}" in str(caught.value)


def test_a_selector_of_more_than_2000_characters_is_refused() -> None:
    with pytest.raises(SelectorError, match="more than 2000"):
        parse_selector("a=" + "b" * 2000)


def test_a_callers_selector_error_has_a_code_and_names_the_field() -> None:
    with pytest.raises(InvalidError) as caught:
        selector_from("ring in", "/rollout/selector")
    assert caught.value.code == "invalid-selector"
    assert [e.pointer for e in caught.value.errors] == ["/rollout/selector"]


def test_built_in_keys_win_over_labels_of_the_same_name() -> None:
    labels = labels_of(
        {"tier": "fake", "brand": "acme"}, tenant="a", tier="basic", region="r", cluster="c", environment="production"
    )
    assert parse_selector("tier=basic,brand=acme,tenant=a,region=r,cluster=c,environment=production").matches(labels)


@given(st.text(alphabet="abz-._/=!<>(), in1", max_size=40))
def test_any_text_is_a_selector_or_a_clear_refusal_and_reads_back_as_itself(text: str) -> None:
    try:
        selector = parse_selector(text)
    except SelectorError as refusal:
        position = refusal.position
    else:
        position = 0
        assert set(parse_selector(str(selector)).requirements) == set(selector.requirements)
    assert 0 <= position <= len(text)
