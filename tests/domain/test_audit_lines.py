"""An export of the audit trail is checked without Seawall; whatever was done to the file is found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.audit_chain import Anchor, Seal
from controlplane.domain.audit_lines import (
    anchor_line,
    check_export,
    first_line,
    last_line,
    read_anchors,
    row_as_json,
)
from controlplane.domain.errors import InvalidError
from tests.domain.test_audit_chain import START, chain


def lines(count: int = 10, *, start: int = 0) -> list[str]:
    made = chain(count)
    head = made[start - 1][0] if start else START
    body = [row_as_json(seal, row) for seal, row in made[start:]]
    return [json.dumps(one) for one in (first_line(head, None), *body, last_line(made[-1][0], 0))]


def test_an_untouched_export_holds_and_names_the_newest_anchor_it_passed() -> None:
    anchor = Anchor(chain(10)[6][0], "2026-11-23T07:00:00+00:00")
    found, passed = check_export(lines(), [anchor])
    assert (found.head.number, found.broken_at, passed) == (10, None, anchor)


@given(place=st.integers(1, 10), field=st.sampled_from(["actor", "action", "detail", "tenant", "at", "traceId", "id"]))
def test_a_changed_field_is_found_at_its_row(place: int, field: str) -> None:
    made = lines()
    row = json.loads(made[place])
    row[field] = {"id": 999, "at": "2020-01-01T00:00:00+00:00", "detail": {"n": -1}}.get(field, "changed")
    made[place] = json.dumps(row)
    assert check_export(made)[0].broken_at == place


@pytest.mark.parametrize("cut", [(5, 6), (10, 11)])
def test_a_line_that_was_taken_out_is_found(cut: tuple[int, int]) -> None:
    made = lines()
    del made[cut[0] : cut[1]]
    assert check_export(made)[0].broken_at == cut[0]


def test_a_file_that_was_cut_is_found_by_its_missing_end() -> None:
    found, _ = check_export(lines()[:6])
    assert (found.broken_at, "was cut" in found.problem) == (6, True)


def test_a_forged_beginning_is_found_by_any_anchor() -> None:
    made = lines(start=4)
    assert check_export(made)[0].broken_at is None
    assert check_export(made, [Anchor(chain(10)[1][0])])[0].broken_at == 4


@pytest.mark.parametrize("text", ["", "{}", "no json", "[]", '{"audit": "seawall.dev/v1"}'])
def test_what_is_no_export_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(InvalidError, match="Line 1") as refused:
        check_export([text])
    assert refused.value.code == "not-an-export"


def test_a_row_that_is_none_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidError, match="Line 3"):
        check_export([*lines()[:2], '{"seal": 2, "hash": "x"}'])


def test_anchors_are_read_from_their_file_and_from_a_log() -> None:
    seal = Seal(7, "sha256:" + "a" * 64)
    kept = Anchor(seal, "2026-11-23T07:00:00+00:00", checkpoint=True)
    log = {"event": "audit sealed", "seal": 7, "hash": seal.hash, "timestamp": "2026-11-23T07:00:01Z"}
    found = list(read_anchors([anchor_line(kept).decode(), json.dumps(log), "no json", '{"seal": "x"}', "[]"]))
    assert found == [kept, Anchor(seal, "2026-11-23T07:00:01Z")]
