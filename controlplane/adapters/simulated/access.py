"""How a process's configuration says where a simulated fleet is. There is no default: whoever wants one writes `simulated`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from controlplane.adapters.simulated.cluster import SimulatedCluster
from controlplane.adapters.simulated.wire import parse_address
from controlplane.ports.clusters import Cluster


class SimulatedAccess(BaseModel):
    """The address that `python -m controlplane.adapters.simulated` listens on: `unix:/path` or `127.0.0.1:port`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["simulated"]
    address: str

    @field_validator("address")
    @classmethod
    def _local(cls, address: str) -> str:
        parse_address(address)
        return address

    async def connect(self, name: str) -> Cluster:
        """The fleet, not started yet."""
        return SimulatedCluster.at(name, self.address)
