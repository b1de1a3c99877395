"""The simulated fleet: for trying Seawall, for planning and for property tests. No promise to users rests on it alone."""

from controlplane.adapters.simulated.clock import Clock, LoopClock, VirtualClock
from controlplane.adapters.simulated.cluster import SimulatedCluster
from controlplane.adapters.simulated.front import Front, Trouble
from controlplane.adapters.simulated.profile import FAULT_ANNOTATION, FaultRule, Profile
from controlplane.adapters.simulated.world import World

__all__ = [
    "FAULT_ANNOTATION",
    "Clock",
    "FaultRule",
    "Front",
    "LoopClock",
    "Profile",
    "SimulatedCluster",
    "Trouble",
    "VirtualClock",
    "World",
]
