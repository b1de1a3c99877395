"""What the console says of a rollout beyond the API's own explanation: waves in columns, and the way back in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from controlplane.domain.rollout_views import RolloutView, WaveView
from controlplane.domain.rollouts import ROLLOUT_OVER, TARGET_FORWARD, RolloutState
from controlplane.ports.stores.panel import WayBackCount

_GOING_BACK: Final = ("failed", "rollingBack")
_UNTOUCHED: Final = ("pending", "skipped", "cancelled", "deferred")
_WAVE_WORDS: Final = {"done": "passed", "failed": "HALTED", "pending": "not started", "gating": "waits for a gate"}
_WAYS: Final = {
    "reapply": "by applying their last good revision again",
    "restore": "only by restoring a backup",
    "none": "not at all: they have no way back",
    "unknown": "in a way that is not planned yet",
}


@dataclass(frozen=True)
class WaveLine:
    """A wave in the columns of every screen."""

    name: str
    targets: int
    in_flight: int
    verified: int
    rolled_back: int
    stuck: int
    untouched: int
    outcome: str
    reason: str


def wave_lines(view: RolloutView) -> list[WaveLine]:
    """Each wave of a rollout."""
    return [_wave_line(wave, over=RolloutState(view.state) in ROLLOUT_OVER) for wave in view.waves]


def _wave_line(wave: WaveView, *, over: bool) -> WaveLine:
    def total(states: Iterable[str]) -> int:
        return sum(wave.counts.get(state, 0) for state in states)

    never = over and wave.state == "pending"
    return WaveLine(
        name=wave.name,
        targets=wave.targets,
        in_flight=total([*TARGET_FORWARD, *_GOING_BACK]),
        verified=total(["verified"]),
        rolled_back=total(["rolledBack"]),
        stuck=total(["stuck"]),
        untouched=total(_UNTOUCHED),
        outcome="never started" if never else _WAVE_WORDS.get(wave.state, wave.state),
        reason=wave.reason,
    )


def ways_back(view: RolloutView, counts: Sequence[WayBackCount]) -> list[str]:
    """The way back of a rollout: what went back already, who needs a person, and how the others would go."""
    by_state = view.counts
    said = []
    if number := by_state.get("rolledBack", 0):
        said.append(f"{_tenants(number)} on the last good revision again.")
    if number := sum(by_state.get(state, 0) for state in _GOING_BACK):
        said.append(f"{_tenants(number)} going back now.")
    if number := by_state.get("stuck", 0):
        said.append(f"{_tenants(number)} stuck: a person retries them or rolls them back.")
    changed = [c for c in counts if c.state == "verified"]
    for way in sorted({c.way_back for c in changed}, key=list(_WAYS).index):
        number = sum(c.number for c in changed if c.way_back == way)
        said.append(f"{_tenants(number)} on the new revision and can go back {_WAYS[way]}.")
    if untouched := sum(by_state.get(state, 0) for state in _UNTOUCHED):
        said.append(f"{_tenants(untouched)} untouched: nothing to take back.")
    return said


def commands(view: RolloutView) -> list[tuple[str, str]]:
    """What a person may want to do next, as words of the command line: (what it does, the command)."""
    state = RolloutState(view.state)
    if state == RolloutState.DRAFT:
        return [("start it", f"seawall rollout start {view.id}"), ("drop it", f"seawall rollout abort {view.id}")]
    if state == RolloutState.PAUSED:
        return [("go on", f"seawall rollout resume {view.id}"), *_ends(view)]
    if state not in ROLLOUT_OVER:
        return [("dispatch nothing more", f"seawall rollout pause {view.id}"), *_ends(view)]
    found = []
    if sum(number for name, number in view.counts.items() if name != "verified"):
        found.append(("give what is left the same content again", f"seawall rollout retry {view.id}"))
    if view.counts.get("verified") and view.kind != "rollback":
        where = f" -l '{view.selector}'" if view.selector else ""
        back = f"seawall rollout start --kind rollback --app {view.app} -e {view.environment}{where}"
        found.append(("take those it changed back", back))
    return found


def _ends(view: RolloutView) -> list[tuple[str, str]]:
    return [
        ("end it, let what is in flight finish", f"seawall rollout abort {view.id}"),
        ("end it and take back what it changed", f"seawall rollout abort {view.id} --roll-back"),
    ]


def _tenants(number: int) -> str:
    return "1 tenant is" if number == 1 else f"{number} tenants are"
