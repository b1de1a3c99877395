"""The approval gate's judgement: pure, over votes and the time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controlplane.domain.gating import GateKey, Verdict
from controlplane.domain.plans import Plan
from controlplane.gates.approval import ApprovalGate, ApprovalSpec
from controlplane.ports.gates import GateScene

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HASH = "sha256:" + "7" * 64


def scene(**changes: Any) -> GateScene:
    plan = cast("Plan", SimpleNamespace(plan_hash=HASH, kind=changes.pop("kind", "deploy")))
    values: dict[str, Any] = {
        "rollout_id": uuid.UUID(int=1),
        "key": GateKey(0, "before", 0),
        "plan": plan,
        "requested_by": "mia",
        "authors": ("leo@acme.example",),
        "changed": (),
        "since": NOW,
        "now": NOW,
    }
    return GateScene(**{**values, **changes})


def said(person: str, group: str = "business", **changes: Any) -> dict[str, Any]:
    vote = {"person": person, "names": [person], "group": group, "word": "approve", "planHash": HASH, "reason": ""}
    return {**vote, "at": NOW.isoformat(), **changes}


def verdict(spec: dict[str, Any], *votes: dict[str, Any], **changes: Any) -> tuple[Verdict, str]:
    judged = ApprovalGate().judge(ApprovalSpec.model_validate(spec), scene(**changes), {"votes": list(votes)})
    return judged.verdict, judged.reason


TWO = {"group": "business", "count": 2}
THREE = {"groups": {"business": 1, "platform": 1, "application": 1}}


def test_it_waits_for_so_many_different_people() -> None:
    assert verdict(TWO, said("ann"))[0] is Verdict.WAIT
    assert verdict(TWO, said("ann"), said("ann"))[0] is Verdict.WAIT
    assert verdict(TWO, said("ann"), said("ben")) == (Verdict.PASS, "approved by ann, ben")


def test_one_person_under_two_names_is_one_person() -> None:
    assert (
        verdict(
            TWO, said("ann", names=["ann", "ann@acme.example"]), said("key:2", names=["key:2", "ann@acme.example"])
        )[0]
        is Verdict.WAIT
    )


@pytest.mark.parametrize("person", ["mia", "MIA", "leo@acme.example"])
def test_the_requester_and_the_authors_do_not_count(person: str) -> None:
    assert verdict({"group": "business"}, said(person))[0] is Verdict.WAIT


def test_a_login_of_an_author_that_is_a_name_of_the_voter_does_not_count() -> None:
    assert verdict({"group": "business"}, said("ann", names=["ann", "ann-gh"]), authors=("Ann-GH",))[0] is Verdict.WAIT


def test_a_vote_for_another_plan_or_one_that_expired_does_not_count() -> None:
    assert verdict({"group": "business"}, said("ann", planHash="sha256:" + "0" * 64))[0] is Verdict.WAIT
    old = (NOW - timedelta(days=8)).isoformat()
    assert verdict({"group": "business"}, said("ann", at=old))[0] is Verdict.WAIT
    assert verdict({"group": "business", "expires": "P9D"}, said("ann", at=old))[0] is Verdict.PASS


def test_every_group_must_say_yes_or_as_many_as_the_gate_names() -> None:
    two = (said("ann"), said("ben", "platform"))
    assert verdict(THREE, *two) == (Verdict.WAIT, "approvals: business 1 of 1, platform 1 of 1, application 0 of 1")
    assert verdict({**THREE, "atLeast": 2}, *two)[0] is Verdict.PASS
    assert verdict({**THREE, "atLeast": 2}, said("ann"))[1].endswith("; 2 of these groups are enough")


def test_a_person_of_two_groups_counts_for_one_of_them() -> None:
    both = (said("ann"), said("ann", "platform"))
    assert verdict({"groups": {"business": 1, "platform": 1}}, *both)[0] is Verdict.WAIT


def test_one_no_of_an_asked_group_fails_it_and_says_why() -> None:
    no = said("zoe", word="reject", reason="the price list is not signed")
    expected = (Verdict.FAIL, "rejected by zoe (business): the price list is not signed")
    assert verdict(TWO, said("ann"), said("ben"), no) == expected
    assert verdict(TWO, said("zoe", "legal", word="reject", reason="x"))[0] is Verdict.WAIT


def test_it_asks_nobody_before_a_yes_would_let_something_proceed() -> None:
    spec = ApprovalSpec(group="business")
    evidence: dict[str, Any] = {"votes": []}
    blocked = ApprovalGate().judge(spec, scene(blocked="the rollout is paused"), evidence)
    assert (blocked.who, blocked.reason) == (
        "",
        "not asked yet: the rollout is paused (0 of 1 approvals by group business)",
    )
    assert ApprovalGate().judge(spec, scene(), evidence).who == "approver:business"


def test_early_votes_open_it_although_it_would_not_ask() -> None:
    assert verdict({"group": "business", "early": True}, said("ann"), blocked="everything is frozen")[0] is Verdict.PASS


def test_unknown_authors_fail_a_gate_that_needs_them_known_but_not_a_way_back() -> None:
    spec = {"group": "business", "knownAuthors": True}
    assert verdict(spec, said("ann"), authors=())[0] is Verdict.FAIL
    assert verdict(spec, said("ann"), authors=(), kind="rollback")[0] is Verdict.PASS


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"group": "a", "groups": {"b": 1}},
        {"groups": {"a": 1}, "count": 2},
        {"groups": {"a": 1}, "atLeast": 2},
        {"groups": {}},
        {"group": "a", "atLeast": 1},
        {"group": "a", "count": 0},
        {"group": "a", "expires": "PT0S"},
        {"group": "A"},
    ],
)
def test_a_spec_that_asks_nobody_or_two_things_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApprovalSpec.model_validate(spec)


people = st.sampled_from(["mia", "leo@acme.example", "ann", "ben", "cem"])
votes = st.lists(
    st.builds(
        lambda p, g, h, days: said(p, g, planHash=h, at=(NOW - timedelta(days=days)).isoformat()),
        people,
        st.sampled_from(["business", "platform", "legal"]),
        st.sampled_from([HASH, "sha256:" + "0" * 64]),
        st.integers(0, 9),
    ),
    max_size=12,
)


@given(votes)
def test_it_never_opens_without_as_many_different_untouched_people_as_it_asks_for(cast: list[dict[str, Any]]) -> None:
    spec = {"groups": {"business": 1, "platform": 1}}
    found, _ = verdict(spec, *cast)
    fresh = (NOW - timedelta(days=7)).isoformat()
    good = [v for v in cast if v["planHash"] == HASH and v["at"] > fresh and v["person"] in ("ann", "ben", "cem")]
    groups = {v["group"] for v in good} & {"business", "platform"}
    if found is Verdict.PASS:
        assert groups == {"business", "platform"}
        assert len({v["person"] for v in good}) >= 2


@given(votes)
def test_more_votes_never_close_a_gate_that_is_open(cast: list[dict[str, Any]]) -> None:
    if verdict(TWO, *cast)[0] is Verdict.PASS:
        assert verdict(TWO, *cast, said("dan"))[0] is Verdict.PASS
