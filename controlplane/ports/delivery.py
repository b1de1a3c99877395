"""How a target is given a release. The kinds are named in `controlplane.domain.work.DeliveryKind`, made in `controlplane.services.delivery`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from controlplane.domain.engine import EffectDone, TargetNow
from controlplane.domain.manifests import InventoryItem, Rendered
from controlplane.domain.work import Work
from controlplane.ports.clusters import Fence
from controlplane.ports.engine import Observed

type Done = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """All that one phase needs. `done`: ledger rows a predecessor saw through; `taken_over`: some may have been sent by it."""

    target: TargetNow
    work: Work
    fence: Fence
    uid: str
    new: Rendered
    base: Sequence[InventoryItem] = ()
    done: Done = field(default_factory=dict)
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to write: the ledger rows, and what `decide` is told."""

    observed: tuple[Observed, ...]
    done: EffectDone


class Delivery(Protocol):
    """Carries out phases of targets in one cluster."""

    async def run(self, job: Job) -> Outcome:
        """Carry out a phase; raises `FencedError` and `LeaseLostError` for the driver, never the cluster's own errors."""
        ...
