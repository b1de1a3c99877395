"""What pydantic finds wrong is said in words that a caller can act on."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.names import Digest, Name, Version
from controlplane.domain.requests import ReleaseRef, StrategyRef
from controlplane.domain.wire import Wire, field_errors


class Sample(Wire):
    """One field of each kind of name."""

    name: Name = "a"
    version: Version = "1"
    image_digest: Digest = "sha256:" + "0" * 64
    release: ReleaseRef = "odoo/1"
    strategy: StrategyRef = "careful"


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"name": "A_b"}, "/name", "is no DNS-1123 label: lower-case letters"),
        ({"version": "1/2"}, "/version", "is no version: up to 128 characters"),
        ({"imageDigest": "latest"}, "/imageDigest", "is no digest: 'sha256:' and 64"),
        ({"release": "odoo"}, "/release", "is no release: app/version, such as odoo/17.0.4"),
        ({"strategy": "careful@0"}, "/strategy", "such as careful@7"),
        ({"colour": "secret-red"}, "/colour", "there is no field of this name here"),
    ],
)
def test_a_wrong_value_is_told_by_its_rule_and_not_by_itself(body: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Sample.model_validate(body)
    (found,) = field_errors(raised.value)
    assert found.pointer == pointer
    assert words in found.detail
    assert all(value not in found.detail for value in body.values() if value != "odoo")


def test_a_missing_field_is_asked_for() -> None:
    class Needs(Wire):
        reason: str

    with pytest.raises(ValidationError) as raised:
        Needs.model_validate({})
    assert [one.detail for one in field_errors(raised.value)] == ["is required; add it"]
