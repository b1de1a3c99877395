"""How `pytest -n 2` spreads the tests: those that use a shared control plane go together in two groups, the others anywhere.

Each group runs in one process and starts one control plane: what looks at a cluster, and what kills processes over one. Two, because
one of all of them would take longer than everything else together, and the other process would have to wait for it.

pytest-xdist's own groups are marks that its workers write into a test's id, which pytest 9.2 no longer lets them (its issue 1386:
groups are ignored without a word). So the process that hands tests out decides by the id alone, and a collection warns of a test
that needs the control plane and is not in the group: it would start a second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

CLUSTER: Final = "cluster"
KILLS: Final = "kills"
_KILLS: Final = (
    "tests/faults/test_broken_books.py",
    "tests/cli/test_demo.py::test_on_the_cluster_of_a_kubeconfig",
    "tests/faults/test_cluster_troubles.py",
    "tests/faults/test_control_group.py",
    "tests/faults/test_disturbances.py",
    "tests/faults/test_on_a_real_fleet.py",
    "tests/faults/test_operation_killed.py",
    "tests/faults/test_stopped_by_5xx.py",
    "tests/faults/test_waits_for_room.py",
    "tests/faults/test_worker_killed.py",
    "tests/faults/test_zombie.py",
)
_OF_THEIR_OWN: Final = (
    "tests/cluster/test_admission_fence.py",
    "tests/cluster/test_charts_install.py",
    "tests/cluster/test_local_build.py",
)
"""Files that start a control plane of their own, or none: each stays together, beside the others."""
_PLACES: Final = ("tests/cluster/",)
_PARAMETER: Final = "[kubernetes"
_USES: Final = frozenset({"control_plane", "cluster_kubeconfig"})


def group_of(nodeid: str) -> str:
    """The tests that must run in one process share a name; any other test is alone under its own."""
    if nodeid.startswith(_OF_THEIR_OWN):
        return nodeid.partition("::")[0]
    if nodeid.startswith(_KILLS):
        return KILLS
    return CLUSTER if nodeid.startswith(_PLACES) or _PARAMETER in nodeid else nodeid


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Hands out groups, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spread:
    """Asked by pytest-xdist for whatever `--dist` says."""
    return Spread(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the control plane, and warn of a test that would start one of its own."""
    for item in items:
        if _USES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.cluster)
            if group_of(item.nodeid) not in (CLUSTER, KILLS):
                advice = "move it to tests/cluster, or name its file in tests/plugins/spread.py, or let `kubernetes` be its first parameter"
                item.warn(pytest.PytestWarning(f"it uses the control plane outside of the groups: {advice}"))
