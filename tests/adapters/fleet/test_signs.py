"""Signs of drift: who wrote an object, and what was deleted."""

from __future__ import annotations

import pytest

from controlplane.adapters.fleet.signs import Signs, foreign_writers
from controlplane.ports.clusters import DriftSign


@pytest.mark.parametrize(
    ("entry", "foreign"),
    [
        ({"manager": "seawall", "operation": "Apply"}, False),
        ({"manager": "seawall-handover"}, False),
        ({"manager": "kube-controller-manager", "subresource": "status"}, False),
        ({"manager": "horizontal-pod-autoscaler", "subresource": "scale"}, False),
        ({"manager": "kubectl-edit", "time": "2026-11-24T00:00:00Z"}, True),
    ],
)
def test_only_who_writes_the_object_itself_gives_a_sign(entry: dict[str, str], foreign: bool) -> None:
    assert bool(foreign_writers({"managedFields": [entry]})) is foreign


def test_a_sign_is_given_once_and_a_late_listener_hears_what_is_known() -> None:
    signs, heard, late = Signs("c"), list[DriftSign](), list[DriftSign]()
    meta = {"name": "settings", "namespace": "a", "managedFields": [{"manager": "kubectl", "time": "1"}]}
    signs.listen(heard.append)
    signs.see("ConfigMap", meta)
    signs.see("ConfigMap", meta)
    signs.listen(late.append)
    assert heard == late == [DriftSign("c", "a", "ConfigMap", "settings", "kubectl")]
    signs.gone("ConfigMap", "a", "settings")
    assert heard[1:] == [DriftSign("c", "a", "ConfigMap", "settings")]
