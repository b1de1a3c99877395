"""Running a probe in a tenant's namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controlplane.domain.probes import Probed, ProbeSpec


@dataclass(frozen=True, slots=True)
class ProbePlace:
    """Where: one tenant's environment, under the epoch it has now. `step`: the same for whoever asks the same; `priority`: its tier's class."""

    tenant: str
    environment: str
    cluster: str
    namespace: str
    epoch: int
    step: str
    priority: str = ""


class Probes(Protocol):
    """Runs probes."""

    async def run(self, name: str, spec: ProbeSpec, place: ProbePlace) -> Probed:
        """Run it to its end, at most its deadline and a few seconds. What goes wrong is said in the answer, never raised."""
        ...
