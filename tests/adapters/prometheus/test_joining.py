"""Joined queries: what comes back to each is what it would have had alone, and no text reaches beyond its own parentheses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.adapters.prometheus.answers import QueryError
from controlplane.adapters.prometheus.joining import (
    AT_ONCE,
    MARK,
    MOMENT,
    MOST_QUERIES,
    MOST_TEXT,
    Instant,
    joinable,
    joined,
    requests,
    told_apart,
)
from controlplane.gates.catalogue import CATALOGUE

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)

labels = st.dictionaries(st.sampled_from(["tenant", "namespace", "__name__"]), st.sampled_from("abc"), max_size=3)
values = st.sampled_from(["0.25", "NaN", "+Inf", "-1"])
item = st.fixed_dictionaries({"metric": labels, "value": st.tuples(st.just(1795424400.25), values)})
instants = st.builds(
    Instant,
    st.sampled_from([f"share{{tenant=~'t{n}'}}" for n in range(50)] + ["x # y", "long" * 2500, "z)"]),
    st.integers(0, 400).map(lambda ms: NOW + timedelta(milliseconds=ms)),
    st.sampled_from([None, timedelta(minutes=2)]),
)


@given(st.lists(st.lists(item, max_size=4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_each_query_gets_back_what_it_would_have_had_alone(answers: list[list[dict[str, Any]]], order: Any) -> None:
    together = [
        {**one, "metric": {**one["metric"], MARK: str(number)}}
        for number, answer in enumerate(answers)
        for one in answer
    ]
    order.shuffle(together)
    apart = told_apart({"resultType": "vector", "result": together}, len(answers))
    for data, answer in zip(apart, answers, strict=True):
        assert data["resultType"] == "vector"
        assert sorted(map(repr, data["result"])) == sorted(map(repr, answer))


@pytest.mark.parametrize(
    "data",
    [
        {"resultType": "scalar", "result": [1, "1"]},
        {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]},
        {"resultType": "vector", "result": [{"metric": {MARK: "7"}, "value": [1, "1"]}]},
        {"resultType": "vector", "result": [{"metric": {MARK: "x"}, "value": [1, "1"]}]},
        {"resultType": "vector", "result": 7},
        {"resultType": "vector"},
    ],
)
def test_a_series_that_is_nobodys_is_an_error(data: dict[str, Any]) -> None:
    with pytest.raises(QueryError):
        told_apart(data, 2)


@pytest.mark.parametrize(
    "text",
    [
        "up",
        'sum by (tenant) (rate(errors_total{tenant=~"a|b", path="/)\\""}[5m])) / 2',
        "max_over_time(x{a='('}[1h:5m] offset 1w)",
        "1 > bool 2",
    ],
)
def test_whole_expressions_can_be_joined(text: str) -> None:
    assert joinable(text)


def test_every_query_of_the_catalogue_can_be_joined() -> None:
    assert all(joinable(one.query) and joinable(one.volume or "1") for one in CATALOGUE.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "x)",
        "(x",
        'x) or label_replace(vector(0), "seawall_query", "1", "", ""',
        "x # the end",
        "x{a=`)`}",
        'x{a="b}',
        'x{a="b\n"}',
        "x[5m)",
        "x]",
        'x{a="\\',
    ],
)
def test_what_might_reach_beyond_its_parentheses_is_not_joined(text: str) -> None:
    assert not joinable(text)


@given(st.text(alphabet="a()[]{}\"'\\`# \n,", max_size=14))
def test_a_joinable_text_closes_its_parentheses_only_at_its_end(text: str) -> None:
    """Against a reading of the joined text character by character, as PromQL's lexer does it."""
    if not joinable(text):
        return
    depth, quote, escaped = 0, "", False
    for place, sign in enumerate(f"({text})"):
        if escaped:
            escaped = False
        elif quote:
            escaped, quote = sign == "\\", "" if sign == quote else quote
            assert sign != "\n"
        elif sign in "\"'":
            quote = sign
        else:
            assert sign not in "`#"
            depth += (sign in "([{") - (sign in ")]}")
            assert depth > 0 or place == len(text) + 1
    assert depth == 0
    assert not quote


def test_a_few_queries_go_out_as_they_are() -> None:
    asked = [Instant(f"q{n}", NOW) for n in range(AT_ONCE)]
    assert requests(asked) == [[n] for n in range(AT_ONCE)]


def test_a_thousand_queries_share_as_many_requests_as_the_source_evaluates_at_once() -> None:
    asked = [Instant(f"q{n}", NOW) for n in range(1000)]
    made = requests(asked)
    assert len(made) == AT_ONCE
    assert [n for request in made for n in request] == list(range(1000))


def test_equal_queries_of_a_moment_are_asked_once() -> None:
    assert requests([Instant("q", NOW)] * 5) == [[0, 1, 2, 3, 4]]


@given(st.lists(instants, max_size=60), st.sets(st.integers(0, 49)))
def test_every_query_is_in_one_request_and_those_of_a_request_may_be_together(
    asked: list[Instant], refused: set[int]
) -> None:
    alone = {f"share{{tenant=~'t{n}'}}" for n in refused}
    made = requests(asked, alone.__contains__)
    assert sorted(n for request in made for n in request) == list(range(len(asked)))
    for request in made:
        ones = [asked[n] for n in request]
        texts = {one.promql for one in ones}
        assert max(one.at for one in ones) - min(one.at for one in ones) <= MOMENT
        assert len({one.stale for one in ones}) == 1
        assert len(texts) == 1 or (
            len(texts) <= MOST_QUERIES
            and sum(map(len, texts)) <= MOST_TEXT
            and not texts & alone
            and all(map(joinable, texts))
        )


def test_a_joined_query_marks_every_query_with_its_number() -> None:
    assert joined(["a", "b", "c"]) == (
        '(label_replace((a),"seawall_query","0","","")'
        ' or (label_replace((b),"seawall_query","1","","") or label_replace((c),"seawall_query","2","","")))'
    )
