"""Whom the ward takes for ill: who was well, has been ill for a while, and is nobody's concern; and that it asks for news only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controlplane.ports.stores.blames import SettledRow
from controlplane.services.illness import AGAIN, ILL_FOR, Ward

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def rows(**health: str) -> list[SettledRow]:
    return [SettledRow(tenant, seen) for tenant, seen in health.items()]


def test_who_was_well_and_has_been_ill_for_a_minute_is_weighed_once_until_there_is_news() -> None:
    ward = Ward()
    assert ward.take(rows(a="healthy", b="healthy", c="unhealthy"), NOW) == {}
    assert ward.take(rows(a="progressing", b="healthy", c="unhealthy"), NOW) == {}
    later = NOW + ILL_FOR
    assert ward.take(rows(a="progressing", b="unhealthy", c="unhealthy"), later) == {"a": NOW}
    assert ward.take(rows(a="unhealthy", b="unhealthy", c="unhealthy"), later) == {}
    assert ward.take(rows(a="unhealthy", b="unhealthy"), later + ILL_FOR) == {"a": NOW, "b": later}
    assert ward.take(rows(a="unhealthy", b="unhealthy"), later + ILL_FOR + AGAIN) == {"a": NOW, "b": later}


def test_who_recovers_is_changed_or_can_not_be_seen_is_not_ill() -> None:
    ward = Ward(timedelta(0))
    ward.take(rows(a="healthy", b="healthy", c="healthy"), NOW)
    assert ward.take(rows(a="unknown", b="unhealthy", c="unhealthy"), NOW).keys() == {"b", "c"}
    assert ward.take(rows(a="unknown", b="healthy"), NOW + AGAIN) == {}
    assert ward.take(rows(c="unhealthy"), NOW + 2 * AGAIN) == {}, "it was changed meanwhile; it must be seen well again"


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from(["healthy", "progressing", "unhealthy", "unknown"]))
    )
)
def test_nobody_is_weighed_who_is_well_or_was_never_seen_well(looks: list[dict[str, str]]) -> None:
    ward = Ward(timedelta(0))
    well: set[str] = set()
    for number, seen in enumerate(looks):
        found = ward.take(rows(**seen), NOW + number * AGAIN)
        assert all(seen[tenant] not in ("healthy", "unknown") for tenant in found if tenant in seen)
        assert found.keys() <= well & seen.keys()
        well |= {tenant for tenant, health in seen.items() if health == "healthy"}
