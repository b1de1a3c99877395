"""Whether an apply changed anything, told from its answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.adapters.kubernetes.applied import Fingerprints

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def answer(
    generation: int | None = 1, version: str = "5", time: str = "2026-11-23T11:59:59Z", **more: Any
) -> dict[str, Any]:
    ours = {"manager": "seawall", "operation": "Apply", "time": time, "fieldsV1": {}}
    status = {"manager": "kubelet", "operation": "Update", "subresource": "status", "time": time}
    meta = {"resourceVersion": version, "managedFields": [status, ours], **more}
    return meta if generation is None else {**meta, "generation": generation}


def told(*answers: dict[str, Any]) -> list[bool]:
    prints = Fingerprints()
    return [prints.changed("uid", one, created=False, now=NOW) for one in answers]


def test_what_was_created_is_changed() -> None:
    assert Fingerprints().changed("uid", answer(time="2020-01-01T00:00:00Z"), created=True, now=NOW)


@pytest.mark.parametrize(
    ("second", "changed"),
    [
        (answer(), False),
        (answer(version="9"), False),
        (answer(generation=2), True),
        (answer(time="2026-11-23T12:00:00Z"), True),
        (answer(annotations={"a": "b"}), True),
        (answer(labels={"a": "b"}), True),
    ],
)
def test_status_alone_moves_nothing_but_all_that_we_write_does(second: dict[str, Any], changed: bool) -> None:
    assert told(answer(), second)[1] is changed


def test_of_kinds_without_a_generation_the_version_tells() -> None:
    assert told(answer(None, "5"), answer(None, "5"), answer(None, "6"))[1:] == [False, True]


def test_an_object_new_to_this_process_is_told_by_the_age_of_our_fields_and_in_doubt_changed() -> None:
    assert told(answer(time="2026-11-23T11:59:57Z")) == [False]
    assert told(answer(time="2026-11-23T11:59:59Z")) == [True]
