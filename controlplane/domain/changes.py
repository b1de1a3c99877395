"""What somebody on call wants to know of a change: what it was, where, what stopped it, and what the way back is now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState, TargetState

_STOPS: Final = frozenset(
    {
        "gate-failed",
        "wave-failed",
        "target-failed",
        "target-stuck",
        "target-deferred",
        "target-rolling-back",
        "target-rolled-back",
        "way-back-refused",
        "release-held",
        "paused",
        "aborting",
        "aborted",
        "failed",
        "onboardFailed",
        "updateFailed",
        "offboardFailed",
        "suspendFailed",
        "resumeFailed",
        "repairFailed",
        "batchOnboardFailed",
        "cancelled",
        "drifted",
    }
)
"""Changes that say that something does not go on, with the reason in their data."""
_T = TargetState
_FORWARD: Final = frozenset({_T.BACKUP, _T.MIGRATE, _T.APPLY, _T.VERIFY, _T.SOAK})


@dataclass(frozen=True)
class RolloutFacts:
    """A rollout as it stands now: targets by state, and the clusters they are on."""

    id: str
    app: str
    version: str | None
    kind: str
    environment: str
    state: str
    clusters: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def says(self) -> str:
        """What it is, in a few words."""
        release = f"{self.app}/{self.version}" if self.version else self.app
        return f"{self.kind} of {release} in {self.environment}"


@dataclass(frozen=True)
class Told:
    """One change in four answers; an empty one does not apply. `where` names clusters."""

    what: str
    where: tuple[str, ...]
    stopped: str
    way_back: str


def tell(
    kind: str,
    subject: str,
    change: str,
    tenant: str | None,
    data: Mapping[str, Any],
    rollout: RolloutFacts | None = None,
    clusters: Sequence[str] = (),
) -> Told:
    """Say it. `change` is the last word of the event's type; `clusters` are the tenant's."""
    what = rollout.says if rollout else f"{kind} {subject}"
    if tenant and kind != "tenant":
        what = f"{what}, tenant {tenant}"
    where = tuple(clusters) if clusters else tuple(rollout.clusters) if rollout else ()
    if kind in ("cluster", "upgrade"):
        where = (subject,)
    back = _rollout_back(rollout) if rollout else _other_back(kind, subject, change, data)
    return Told(what, where, _stopped(change, data), back)


def _stopped(change: str, data: Mapping[str, Any]) -> str:
    if change not in _STOPS:
        return ""
    by = data.get("by")
    who = f"by {by}: " if isinstance(by, str) and by else ""
    objects = ", ".join(str(one) for one in data.get("objects") or [])
    reason = str(data.get("reason") or objects or data.get("code") or "")
    gate = f"{data['gate']}: " if data.get("gate") else ""
    return f"{who}{gate}{reason}"


def _rollout_back(rollout: RolloutFacts) -> str:
    """What a person can do now, from where the targets stand."""
    counts = rollout.counts
    back, stuck, done = (counts.get(state, 0) for state in (_T.ROLLED_BACK, _T.STUCK, _T.VERIFIED))
    going = sum(counts.get(state, 0) for state in _FORWARD)
    parts = []
    if back:
        parts.append(f"{_tenants(back)} went back already")
    if stuck:
        parts.append(f"{_tenants(stuck)} stuck: retry, or roll back by hand")
    if rollout.kind == "rollback" or not done + going:
        return "; ".join(parts)
    if RolloutState(rollout.state) in ROLLOUT_OVER:
        parts.append(f"a rollout of kind rollback takes {_tenants(done)} back that run it")
    else:
        act = f'POST /v1/rollouts/{rollout.id}:abort {{"inFlight": "rollBack"}}'
        parts.append(f"{act} takes {_tenants(done + going)} back")
    return "; ".join(parts)


def _other_back(kind: str, subject: str, change: str, data: Mapping[str, Any]) -> str:
    if (kind, change) == ("freeze", "created"):
        return f"DELETE /v1/freezes/{subject} lets forward work start again"
    if (kind, change) == ("tenant", "suspended"):
        return f"POST /v1/tenants/{subject}:resume"
    if (kind, change) == ("tenant", "drifted"):
        repairs = data.get("policy") == "repair"
        return "a repair is under way" if repairs else "the next rollout writes it again, or change it back by hand"
    if change == "changed" and isinstance(data.get("version"), int) and data["version"] > 1:
        return f"PUT what version {data['version'] - 1} said; `seawall audit` says who changed it"
    return ""


def _tenants(number: int) -> str:
    return f"{number} tenant{'' if number == 1 else 's'}"
