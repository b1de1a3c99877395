from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.errors import InvalidError
from controlplane.domain.quantities import Money
from controlplane.domain.strategies import Growth, Strategy, parse_strategy
from controlplane.domain.targets import TargetFacts
from controlplane.domain.waves import cut, growth_sizes, in_order, stratified
from tests.domain.fleet import fleet, strategy, target, wave


def sizes(rules: Strategy, count: int) -> dict[str, int]:
    return {w.name: len(w.targets) for w in cut(rules, fleet(count)).waves}


@pytest.mark.parametrize(
    ("first", "factor", "waves", "total", "expected"),
    [
        (1, "3", None, 41, [1, 3, 9, 27, 1]),
        (1, "1.5", None, 10, [1, 1, 2, 3, 3]),
        (4, "1.5", 2, 100, [4, 6]),
        (5, "1", None, 12, [5, 5, 2]),
        (50, "2", None, 10, [10]),
        (1, "2", None, 0, []),
    ],
)
def test_growth_starts_small_and_multiplies_until_all_are_in(
    first: int, factor: str, waves: int | None, total: int, expected: list[int]
) -> None:
    assert list(growth_sizes(Growth(first=first, factor=Decimal(factor), waves=waves), total)) == expected


def test_a_percent_is_of_all_planned_targets_and_rounds_down() -> None:
    rules = strategy(wave("a", percent="10%"), wave("b", percent="33%"), wave("c", percent="57%"), unmatched="last")
    assert sizes(rules, 41) == {"a": 4, "b": 13, "c": 23, "rest": 1}


def test_a_percent_of_a_small_fleet_takes_at_least_one() -> None:
    assert sizes(strategy(wave("a", percent="1%"), unmatched="last"), 3) == {"a": 1, "rest": 2}


def test_a_selector_narrows_a_count_and_what_it_leaves_goes_on() -> None:
    rules = strategy(wave("pilot", selector="ring=pilot", count=2), wave("half", percent="50%"), unmatched="last")
    assert sizes(rules, 40) == {"pilot": 2, "half": 20, "rest": 18}


def test_a_target_that_several_waves_match_goes_to_the_first() -> None:
    rules = strategy(wave("basic", selector="tier=basic"), wave("one", selector="cluster=aks-0"), unmatched="last")
    result = cut(rules, fleet(24))
    assert {t.tier for t in result.waves[0].targets} == {"basic"}
    assert {t.cluster for t in result.waves[1].targets} == {"aks-0"}
    assert "basic" not in {t.tier for t in result.waves[1].targets}


def test_a_wave_without_targets_is_named_and_left_out() -> None:
    result = cut(strategy(wave("none", selector="ring=nowhere"), wave("all", percent="100%")), fleet(5))
    assert result.empty == ("none",)
    assert [w.name for w in result.waves] == ["all"]


def test_the_rest_soaks_as_the_last_wave_does() -> None:
    rules = parse_strategy(
        {"waves": [{"name": "one", "cut": {"count": 1}, "soak": {"for": "PT9M"}}], "unmatched": "last"}
    )
    assert cut(rules, fleet(3)).waves[-1].spec.soak == rules.waves[0].soak


def test_more_than_31_waves_are_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        cut(strategy(wave("slow", growth={"first": 1, "factor": 1})), fleet(32))
    assert caught.value.code == "too-many-waves"
    assert len(cut(strategy(wave("slow", growth={"first": 1, "factor": 1})), fleet(31)).waves) == 31


def test_the_order_is_label_then_exposure_then_name() -> None:
    targets = [
        target("d", labels={"ring-order": "10"}),
        target("c", labels={"ring-order": "9"}, orders_per_hour=Decimal(5)),
        target("b", labels={"ring-order": "9"}, orders_per_hour=Decimal(7)),
        target("a", labels={"ring-order": "soon"}),
        target("e"),
        target("f", labels={"ring-order": "-1"}, orders_per_hour=Decimal(900)),
        target("g", labels={"ring-order": "9"}, orders_per_hour=Decimal(5)),
    ]
    assert [t.facts.tenant for t in in_order(targets, "ring-order")] == ["f", "c", "g", "b", "d", "a", "e"]


def test_exposure_is_money_where_all_have_one_currency_and_orders_where_not() -> None:
    def shop(name: str, orders: int, value: str, currency: str = "EUR") -> TargetFacts:
        money = Money(amount=Decimal(value), currency=currency)
        return target(name, orders_per_hour=Decimal(orders), value_per_order=money)

    cheap, dear = shop("cheap", 100, "1.00"), shop("dear", 10, "90.00")
    assert [t.facts.tenant for t in in_order([dear, cheap], None)] == ["cheap", "dear"]
    other = shop("other", 50, "1.00", "CHF")
    assert [t.facts.tenant for t in in_order([dear, cheap, other], None)] == ["dear", "other", "cheap"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), min_size=1, max_size=120), st.data())
def test_every_prefix_of_a_stratified_order_has_the_mix_of_the_whole(rows: list[tuple[str, str]], data: Any) -> None:
    targets = [target(f"t{n:03}", tier=tier, region=region) for n, (tier, region) in enumerate(rows)]
    ordered = stratified(in_order(targets, None), ["tier", "region"])
    assert sorted(t.facts.tenant for t in ordered) == sorted(t.tenant for t in targets)
    size = data.draw(st.integers(1, len(rows)))
    strata = Counter(rows)
    taken = Counter((t.facts.tier, t.facts.region) for t in ordered[:size])
    for stratum, count in strata.items():
        fair = size * count / len(rows)
        assert abs(taken[stratum] - fair) <= (len(strata) + 1) / 2


def test_stratifying_keeps_the_order_label_above_the_mix() -> None:
    targets = [target(f"t{n}", tier="basic" if n < 3 else "premium", labels={"o": str(n // 3)}) for n in range(6)]
    ordered = stratified(in_order(targets, "o"), ["tier"])
    assert [t.facts.tier for t in ordered] == ["basic"] * 3 + ["premium"] * 3


CUTS = st.sampled_from(
    [
        {"selector": "ring=pilot"},
        {"selector": "tier in (basic,premium)", "count": 3},
        {"count": 2, "stratifyBy": ["tier"]},
        {"percent": "10%"},
        {"percent": "7.5%", "selector": "region=region-1"},
        {"growth": {"first": 2, "factor": 2, "waves": 3}},
        {"growth": {"first": 1, "factor": 4, "stratifyBy": ["region", "tier"]}, "selector": "cluster=aks-2"},
    ]
)


@settings(max_examples=150)
@given(st.lists(CUTS, min_size=1, max_size=5, unique_by=str), st.integers(1, 90), st.randoms())
def test_each_target_is_in_exactly_one_wave_whatever_the_strategy_and_the_order_it_comes_in(
    cuts: list[dict[str, Any]], size: int, random: Any
) -> None:
    waves = [{"name": f"w{chr(97 + n)}", "cut": c} for n, c in enumerate(cuts)]
    rules = parse_strategy({"waves": waves, "unmatched": "exclude"})
    targets = fleet(size)
    result = cut(rules, targets)
    placed = [t.key for w in result.waves for t in w.targets] + [t.key for t in result.unmatched]
    assert sorted(placed) == sorted(t.key for t in targets)
    assert all(w.targets for w in result.waves)
    shuffled = list(targets)
    random.shuffle(shuffled)
    assert cut(rules, shuffled) == result
