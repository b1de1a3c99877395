"""control-group: tenants that have the release against those that do not have it yet, each against its own past.

A shock that hits the whole fleet moves both sides and is no harm; a tenant's own drift is part of the model. It says how sure it is at every
look (an e-value, safe to look at as often as one likes), fails when it is sure enough, holds further dispatch from a suspicion on, and passes when
enough was seen without one. No answer, or no data of a tenant that was changed, is `unknown`; without anybody to compare with only the
hard limit holds, and it says so. Method, assumptions, limits: docs/explanation/control-group.md.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from controlplane.domain.gating import Judged
from controlplane.ports.gates import Evidence, GatePorts, GateScene, MetricsError

from .spec import ControlGroupSpec

if TYPE_CHECKING:
    from .comparing import Comparison


class ControlGroupGate:
    """See the module. What counts needs numpy, which takes 11 MB that a worker without such a gate does without."""

    kind = "control-group"
    spec = ControlGroupSpec

    @cached_property
    def _comparison(self) -> Comparison:
        from .comparing import Comparison

        return Comparison()

    def interval(self, spec: ControlGroupSpec) -> float:
        """A look at a time, at most once a minute."""
        return min(60.0, spec.interval.total_seconds())

    async def observe(self, spec: ControlGroupSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Read looks since the rollout began and, once, each tenant's own past; give what both sides show."""
        source = ports.sources.get(spec.source) if spec.source else ports.metrics
        if source is None:
            return {"error": f"no metric source {spec.source or 'is configured'}"}
        try:
            return await self._comparison.observe(spec, scene, source)
        except MetricsError as error:
            return {"error": str(error)}

    def judge(self, spec: ControlGroupSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """See `verdict`."""
        from .verdict import judge

        return judge(spec, evidence)
