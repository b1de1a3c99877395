"""A worker notes when the nodes of a cluster begin and end to be replaced."""

from __future__ import annotations

from controlplane.domain.disturbance import Circumstances, Node, Nodes
from tests.contract.fleets import until_read
from workers.upgrades import watch

from .conftest import CLUSTER, Stage


def noted(stage: Stage) -> list[tuple[str, str]]:
    asked = "select subject_id, split_part(type, '.', 4) from history where subject_kind = 'upgrade' order by seq"
    return [(str(name), str(change)) for name, change in stage.rows.ask(asked)]


async def test_an_upgrade_is_noted_once_when_it_begins_and_when_it_ends_and_never_where_that_is_ruled_out(
    stage: Stage,
) -> None:
    await stage.tenants(["a"])
    fleet = stage.gates[0]

    async def watched() -> bool:
        return fleet.peek(CLUSTER) is not None

    await until_read(watched)
    assert await watch(stage.transactions, fleet) == []
    cordoned = Nodes({"n1": Node("n1", cordoned=True), "n2": Node("n2")})
    stage.cluster.play_nodes(cordoned, Circumstances())
    assert await watch(stage.transactions, fleet) == [CLUSTER]
    assert await watch(stage.transactions, fleet) == []
    stage.cluster.play_nodes(Nodes(known=False), Circumstances())
    assert await watch(stage.transactions, fleet) == [], "what is not known has not ended"
    stage.cluster.play_nodes(Nodes({"n1": Node("n1"), "n2": Node("n2")}), Circumstances())
    assert await watch(stage.transactions, fleet) == [CLUSTER]
    assert noted(stage) == [(CLUSTER, "began"), (CLUSTER, "ended")]
    stage.rows.config("clusters", CLUSTER, {"region": "west", "upgrade": "ignore"})
    stage.cluster.play_nodes(cordoned, Circumstances())
    assert await watch(stage.transactions, fleet) == []
