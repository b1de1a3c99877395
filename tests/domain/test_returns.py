from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.returns import PastRevision, choose_return, way_back_after
from controlplane.domain.targets import DatabaseChange

WORST: tuple[DatabaseChange, ...] = ("none", "reversible", "restore-required", "forward-only")


def past(number: int, state: str = "verified", version: str = "1.0", change: DatabaseChange = "none") -> PastRevision:
    return PastRevision("acme", number, version, f"sha256:{number}", "v", {}, state, change)


HISTORIES = st.lists(
    st.tuples(
        st.sampled_from(["applying", "applied", "verified", "failed", "left"]),
        st.sampled_from(["1.0", "2.0", "3.0"]),
        st.sampled_from(WORST),
    ),
    max_size=8,
).map(lambda rows: [past(len(rows) - n, *row) for n, row in enumerate(rows)])
WHERE = st.one_of(st.none(), st.just("lastVerified"), st.integers(1, 9))


@given(HISTORIES, WHERE, st.one_of(st.none(), st.sampled_from(["1.0", "2.0"])))
def test_a_way_back_leads_only_to_an_earlier_verified_revision_and_counts_the_worst_change_on_it(
    history: list[PastRevision], to: Literal["lastVerified"] | int | None, undo: str | None
) -> None:
    found = choose_return(history, to, undo)
    if found.to is None:
        return
    assert found.problem is None
    assert found.to.state == "verified"
    assert found.to.revision < history[0].revision
    assert to in (None, "lastVerified", found.to.revision)
    crossed = [r.change for r in history if r.revision > found.to.revision]
    assert found.crosses == max(crossed, key=WORST.index)
    if undo is not None:
        assert history[0].version == undo != found.to.version


@given(HISTORIES)
def test_without_a_number_the_newest_verified_one_before_the_current_is_chosen(history: list[PastRevision]) -> None:
    earlier = [r.revision for r in history[1:] if r.state == "verified"]
    found = choose_return(history, None)
    assert (found.to.revision if found.to else 0) == max(earlier, default=0)


@pytest.mark.parametrize(
    ("planned", "given_up", "verified", "database", "rollback", "found"),
    [
        ("reapply", 3, 4, "none", False, "reapply"),
        ("none", 0, 4, "none", False, "reapply"),
        ("none", 0, 4, "forward-only", False, "none"),
        ("none", 3, 4, "none", False, "none"),
        ("restore", 3, 4, "restore-required", False, "restore"),
        ("none", 0, 4, "restore-required", False, "restore"),
        ("reapply", 3, 0, "none", False, "none"),
        ("none", 0, 4, "none", True, "none"),
    ],
)
def test_a_base_that_moved_as_expected_never_promises_a_way_back_that_the_release_does_not_have(
    planned: Any, given_up: int, verified: int, database: Any, rollback: bool, found: str
) -> None:
    assert way_back_after(planned, given_up, verified, database, rollback=rollback) == found


def test_a_tenant_without_history_has_nowhere_to_go() -> None:
    assert choose_return([], None).to is None


def test_a_revision_that_was_never_verified_is_refused_and_says_what_it_is() -> None:
    found = choose_return([past(3), past(2, "failed"), past(1)], 2)
    assert found.problem is not None
    assert (found.problem.code, "failed" in found.problem.detail) == ("not-verified", True)
