"""The kinds of delivery, and what surrounds each: a span, its time, the outcome of its steps.

A new kind is one file with a `Delivery`, one line in `DELIVERIES` and its name in `DeliveryKind`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controlplane.domain.work import DeliveryKind
from controlplane.ports.clusters import Cluster, FencedError
from controlplane.ports.delivery import Delivery, Job, Outcome
from controlplane.ports.leases import LeaseLostError
from controlplane.ports.meters import SILENT, EffectEnd, Meters
from controlplane.ports.trace import span
from controlplane.services.effects import Effects

type MayIssue = Callable[[], bool]

DELIVERIES: Mapping[DeliveryKind, Callable[[Cluster, MayIssue], Delivery]] = {"apply": Effects}


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Runs phases of one rollout by its kind of delivery; each is counted, timed and traced."""

    rollout: str
    may_issue: MayIssue
    kind: DeliveryKind = "apply"
    meters: Meters = SILENT

    async def run(self, cluster: Cluster, job: Job) -> Outcome:
        """Carry out a phase in a cluster; raises as `Delivery.run` does."""
        target, started, outcome = job.target, time.monotonic(), "error"
        results: tuple[tuple[str, str], ...] = ()
        ids = {"rollout": self.rollout, "tenant": target.tenant, "cluster": cluster.name}
        try:
            with span(f"effect {target.phase}", **ids):
                came = await DELIVERIES[self.kind](cluster, self.may_issue).run(job)
            outcome = came.done.outcome
            results = tuple((job.work.items[row.ordinal].verb, row.outcome) for row in came.observed)
        except FencedError:
            outcome = "fenced"
            raise
        except (LeaseLostError, asyncio.CancelledError):
            outcome = "lost"
            raise
        finally:
            self.meters.effect_ended(EffectEnd(target.phase, outcome, time.monotonic() - started, results))
        return came
