"""An app's body."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controlplane.domain.apps import AppSpec


def test_an_app_is_delivered_by_apply_and_every_other_kind_is_refused_by_name() -> None:
    assert AppSpec().delivery == "apply"
    with pytest.raises(ValidationError, match="'apply'") as found:
        AppSpec.model_validate({"delivery": "handoff"})
    assert found.value.errors()[0]["loc"] == ("delivery",)
