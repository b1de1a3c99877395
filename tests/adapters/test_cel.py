"""CEL: what compiles, what is bounded, and what counts as an answer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from controlplane.adapters.cel import Cel, nesting
from controlplane.ports.expressions import ExpressionError

EVENT = {"type": "release.published", "data": {"prerelease": False, "tags": ["a", "b"], "text": "yes"}}


def test_the_documented_filter_is_true_for_a_release_and_false_for_a_prerelease() -> None:
    expression = "event.type == 'release.published' && !event.data.prerelease"
    Cel().check(expression, ("event",), "/filter")
    assert Cel().test(expression, {"event": EVENT})
    assert not Cel().test(expression, {"event": {**EVENT, "data": {"prerelease": True}}})


@pytest.mark.parametrize("expression", ["event.type ==", "", "event.type == 'a", "(" * 1000, "x" * 2001, "1 +* 2"])
def test_what_does_not_compile_is_refused_with_its_place(expression: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Cel().check(expression, ("event",), "/filter")
    assert [e.pointer for e in caught.value.errors] == ["/filter"]
    assert caught.value.status == 422


def test_a_name_that_is_not_known_is_refused_when_stored_but_a_loops_own_name_is_known() -> None:
    Cel().check("event.data.tags.exists(t, t == 'a')", ("event",), "/filter")
    with pytest.raises(ExpressionError, match="evnt"):
        Cel().check("evnt.type == 'a'", ("event",), "/filter")


@pytest.mark.parametrize("expression", ["event.data.text", "1", "event.data", "null"])
def test_an_answer_that_is_no_boolean_is_an_error(expression: str) -> None:
    with pytest.raises(ExpressionError, match="not true or false"):
        Cel().test(expression, {"event": EVENT})


def test_a_missing_field_is_an_error_that_names_it() -> None:
    with pytest.raises(ExpressionError, match="missing"):
        Cel().test("event.data.missing == 1", {"event": EVENT})
    assert not Cel().test("has(event.data.missing) && event.data.missing == 1", {"event": EVENT})


@pytest.mark.parametrize(
    "expression", ["event.data.text + 1 == 2", "1 / 0 == 1", "nofunction(1)", "timestamp('x') == 1"]
)
def test_what_fails_at_evaluation_is_an_expression_error(expression: str) -> None:
    with pytest.raises(ExpressionError):
        Cel().test(expression, {"event": EVENT})


def test_loops_inside_loops_over_much_data_are_refused_before_they_run() -> None:
    much = {"event": {"data": {"tags": list(range(10_000))}}}
    assert Cel().test("event.data.tags.all(a, a >= 0)", much)
    with pytest.raises(ExpressionError, match="too many steps"):
        Cel().test("event.data.tags.all(a, event.data.tags.all(b, a + b >= 0))", much)


MANY = list(range(1_500_000))
"""About 10 MB as JSON."""
LONG = "a" * 10_000_000


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("event.tags.all(t, t >= 0)", {"tags": MANY}),
        ("event.tags.exists(t, event.tags.exists(u, u == t + 1.5))", {"tags": MANY[:100_000], "text": LONG}),
        ("event.tags.all(t, !event.text.contains('zzz'))", {"tags": MANY[:50_000], "text": LONG}),
        ("event.tags.all(t, !event.text.matches('(a|aa)+z'))", {"tags": MANY[:50_000], "text": LONG}),
        ("event.tags.map(t, event.tags.map(u, event.text)).size() > 0", {"tags": MANY[:600], "text": LONG}),
        ("event.names.all(n, n.size() > 0)", {"names": {LONG: 1, "b": 2, **{str(n): n for n in range(50_000)}}}),
    ],
    ids=["values", "nested", "text", "pattern", "copies", "names"],
)
def test_loops_over_ten_megabytes_are_refused_at_once(expression: str, data: dict[str, Any]) -> None:
    started = time.process_time()
    with pytest.raises(ExpressionError, match="too many steps"):
        Cel().test(expression, {"event": data})
    assert time.process_time() - started < 1


def test_ten_megabytes_that_no_loop_goes_over_are_looked_through() -> None:
    assert Cel().test("event.text.contains('b')", {"event": {"text": f"{LONG}b", "tags": []}})
    assert Cel().test("event.tags.all(t, t.startsWith('a'))", {"event": {"tags": ["a" * 400] * 1000}})


def test_nesting_counts_loops_in_loops_and_no_text() -> None:
    assert nesting("a == 1") == 0
    assert nesting("a.all(x, x > 0) && b.all(y, y > 0)") == 1
    assert nesting("a.all(x, b.exists(y, (y + x) > 0))") == 2
    assert nesting("a == '.all(.all('") == 0
