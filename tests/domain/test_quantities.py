from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from controlplane.domain.quantities import (
    Duration,
    Limit,
    Money,
    format_duration,
    format_quantity,
    parse_duration,
    parse_percent,
    parse_quantity,
    resolve,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT4H", 14400),
        ("P2D", 172800),
        ("P1W", 604800),
        ("PT0S", 0),
        ("P1DT1M", 86460),
        ("PT0.5S", 0.5),
        ("PT1.5H", 5400),
    ],
)
def test_an_iso_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1Y", "P1M", "4H", "30m", "PT-1H", "-PT1H", "P1DT", "PT1H ", "P99999999D", "P1D\n"]
)
def test_what_is_no_iso_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("45s", 45), ("PT30M", 1800)]
)
def test_the_command_line_also_takes_the_short_form(text: str, seconds: int) -> None:
    assert parse_duration(text, short=True).total_seconds() == seconds


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3000)))
def test_a_written_duration_reads_back_as_itself(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


def test_a_duration_travels_as_iso_text() -> None:
    adapter = TypeAdapter[timedelta](Duration)
    assert adapter.dump_python(adapter.validate_python("PT90M"), mode="json") == "PT1H30M"
    with pytest.raises(ValidationError, match="a duration is a string"):
        adapter.validate_python(90)


@pytest.mark.parametrize(
    ("limit", "total", "count"),
    [
        ("10%", 41, 4),
        ("10%", 5, 1),
        ("10%", 1, 1),
        ("100%", 7, 7),
        (20, 41, 20),
        (["10%", 20], 41, 4),
        (["10%", 20], 1000, 20),
    ],
)
def test_a_percent_rounds_down_but_is_at_least_one_and_the_smallest_of_a_list_wins(
    limit: int | str | list[int | str], total: int, count: int
) -> None:
    assert resolve(limit, total) == count


@pytest.mark.parametrize(
    ("limit", "total", "count"), [("10%", 41, 5), ("10%", 40, 4), ("1%", 3, 1), (0, 10, 0), (["5%", 1], 100, 1)]
)
def test_a_failure_limit_rounds_up(limit: int | str | list[int | str], total: int, count: int) -> None:
    assert resolve(limit, total, up=True) == count


@given(st.decimals(min_value="0.01", max_value=100, places=2), st.integers(1, 20_000))
def test_a_resolved_percent_never_passes_its_share_except_to_be_one(percent: Decimal, total: int) -> None:
    down, up = resolve(f"{percent}%", total), resolve(f"{percent}%", total, up=True)
    assert 1 <= down <= total
    assert down == 1 or down * 100 <= percent * total
    assert up * 100 >= percent * total > (up - 1) * 100


@pytest.mark.parametrize("text", ["0%", "0.0%", "101%", "100.01%", "10", "%", "-5%", "1e1%", "10 %", "٣%"])
def test_a_percent_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="%"):
        parse_percent(text)


@pytest.mark.parametrize("value", [-1, True, 1.5, None, [], {}, ["10%", -1], "ten"])
def test_a_limit_that_makes_no_sense_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"limit|percent"):
        Limit.parse(value)


@pytest.mark.parametrize("value", [3, "10%", ["10%", 20]])
def test_a_limit_is_given_back_as_it_was_written(value: object) -> None:
    adapter = TypeAdapter(Limit)
    assert adapter.dump_python(adapter.validate_python(value), mode="json") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", "0.25"),
        ("2", "2"),
        ("1.5Gi", "1610612736"),
        ("2e3", "2000"),
        ("1E", "1e18"),
        ("100M", "1e8"),
        ("12u", "0.000012"),
    ],
)
def test_a_kubernetes_quantity_is_read_in_base_units(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "abc", "1.5GiB", "1 Gi", "m", "1..5", "1e", "--1"])
def test_what_is_no_kubernetes_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**15))
def test_a_written_quantity_reads_back_as_itself(number: int) -> None:
    assert parse_quantity(format_quantity(Decimal(number), binary=True)) == number
    assert parse_quantity(format_quantity(Decimal(number) / 1000)) == Decimal(number) / 1000


def test_quantities_are_written_shortly() -> None:
    assert [format_quantity(Decimal(v)) for v in ("0.25", "3.2", "8")] == ["250m", "3.2", "8"]
    assert format_quantity(Decimal(1536 * 1024**2), binary=True) == "1536Mi"


def test_money_keeps_its_cents_and_its_currency() -> None:
    money = Money.model_validate({"amount": "61.50", "currency": "EUR"})
    assert money.model_dump(mode="json") == {"amount": "61.50", "currency": "EUR"}
    assert (money + money).amount == Decimal("123.00")
    with pytest.raises(ValueError, match="without a rate"):
        money + Money(amount=Decimal(1), currency="CHF")


@pytest.mark.parametrize(
    "body",
    [{"amount": 61.5, "currency": "EUR"}, {"amount": "1", "currency": "eur"}, {"amount": "NaN", "currency": "EUR"}],
)
def test_money_that_would_lose_cents_or_meaning_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate(body)
