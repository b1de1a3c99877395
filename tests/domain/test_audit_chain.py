"""The chain breaks wherever a row is changed, taken out, put in or moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.audit_chain import GENESIS, Anchor, AuditFields, ChainCheck, Seal, Walk, check, link, seals

START = Seal(0, GENESIS)
NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


def rows(count: int) -> list[AuditFields]:
    return [
        AuditFields(n * 3 + 1, NOW + timedelta(seconds=n), "key:a", "keys.issue", f"key/{n}", None, {"n": n}, "")
        for n in range(count)
    ]


def chain(count: int) -> list[tuple[Seal, AuditFields]]:
    made = rows(count)
    return list(zip(seals(START, made), made, strict=True))


def test_an_untouched_chain_holds_to_its_head() -> None:
    made = chain(10)
    assert check(START, made).head == made[-1][0]
    assert check(START, made).broken_at is None


def test_a_chain_can_be_checked_in_parts() -> None:
    made = chain(10)
    first = check(START, made[:4])
    assert check(first.head, made[4:]).head == made[-1][0]


@given(
    place=st.integers(0, 9), field=st.sampled_from(["actor", "action", "subject", "tenant", "trace_id", "id", "detail"])
)
def test_any_changed_field_breaks_the_chain_at_its_row(place: int, field: str) -> None:
    made = chain(10)
    seal, row = made[place]
    changed: object = {"id": 999, "detail": {"n": -1}}.get(field, "changed")
    made[place] = (seal, replace(row, **{field: changed}))  # type: ignore[arg-type]  # one field of any type
    assert check(START, made).broken_at == place + 1


@given(place=st.integers(0, 8))
def test_a_row_taken_out_or_moved_breaks_the_chain(place: int) -> None:
    made = chain(10)
    assert check(START, made[:place] + made[place + 1 :]).broken_at == place + 1
    made[place], made[place + 1] = made[place + 1], made[place]
    assert check(START, made).broken_at == place + 1


def test_the_same_moment_in_another_zone_is_the_same_row() -> None:
    row = rows(1)[0]
    paris = replace(row, at=row.at.astimezone(timezone(timedelta(hours=1))))
    assert link(GENESIS, paris) == link(GENESIS, row)


@pytest.mark.parametrize("count", [0, 1])
def test_a_chain_of_none_or_one_holds(count: int) -> None:
    assert check(START, chain(count)).broken_at is None


def walked(made: list[tuple[Seal, AuditFields]], *anchors: Anchor, start: Seal = START) -> tuple[ChainCheck, Walk]:
    walk = Walk(start, anchors)
    walk.begin(first=True)
    for n in range(0, len(made), 3):
        walk.feed(made[n : n + 3])
    return walk.end(), walk


def test_a_walk_passes_through_its_anchors_and_says_which_was_the_newest() -> None:
    made = chain(10)
    found, walk = walked(made, Anchor(made[3][0], "t1"), Anchor(made[7][0], "t2"))
    assert (found.head.number, found.broken_at) == (10, None)
    assert walk.anchored == Anchor(made[7][0], "t2")


def test_a_chain_made_anew_cut_short_or_anchored_twice_is_found_at_its_anchor() -> None:
    made = chain(10)
    forged = list(zip(seals(START, [replace(row, actor="x") for _, row in made]), rows(10), strict=True))
    assert walked(made, Anchor(forged[4][0]))[0].broken_at == 5
    assert walked(made[:6], Anchor(made[7][0]))[0].broken_at == 8
    assert walked(made, Anchor(made[4][0]), Anchor(forged[4][0]))[0].broken_at == 5


def test_a_beginning_that_was_removed_counts_only_with_an_anchored_checkpoint() -> None:
    made = chain(10)
    start = made[3][0]
    early, checkpoint = Anchor(made[1][0]), Anchor(start, "t", checkpoint=True)
    assert walked(made[4:], early, checkpoint, start=start)[0].broken_at is None
    assert "no anchored checkpoint" in walked(made[4:], early, start=start)[0].problem
    forged = Anchor(Seal(start.number, GENESIS), checkpoint=True)
    assert walked(made[4:], forged, start=start)[0].broken_at == 4
