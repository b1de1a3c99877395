"""What the rollout services need from outside, chosen by bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from controlplane.gates import GATES
from controlplane.ports.calendar_times import CalendarTimes
from controlplane.ports.calendars import Calendars
from controlplane.ports.clusters import Clusters
from controlplane.ports.expressions import Expressions
from controlplane.ports.gates import GatePorts
from controlplane.ports.uow import UnitOfWork


@dataclass(frozen=True)
class RolloutTools:
    """`open` begins a transaction as `platform` (API) or `engine` (workers); `clusters` None: none can be asked here.

    `gates` are the kinds of gate this installation has, besides the built-in soak. `expressions`, `times`: what
    evaluates risk rules (None: tenants that a rule might be about stay out); `gate_ports`: what gates may ask when a rollout is planned.
    `expander`: what works calendars out (None: plans can't say when windows open).
    """

    open: Callable[[], AbstractAsyncContextManager[UnitOfWork]]
    clusters: Clusters | None = None
    gates: frozenset[str] = frozenset(GATES)
    expressions: Expressions | None = None
    times: CalendarTimes | None = None
    gate_ports: GatePorts | None = None
    expander: Calendars | None = None
