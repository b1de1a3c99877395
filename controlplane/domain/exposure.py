"""Budgets: what may be touched at once, by whom, and who gets the next place. Pure; the rows live in PostgreSQL.

A budget is a scope with a cap and what is reserved of it. A target takes one of each of its scopes when it is
dispatched and gives back exactly what it took. Scopes are locked and updated in the order of their bytes (Python's
order of `str` for these ASCII names; `COLLATE "C"` in PostgreSQL), so that two drivers can't wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

from controlplane.domain.plans import ResolvedLimits
from controlplane.domain.quantities import share_of

Amount = int | Decimal
"""Targets are counted in whole numbers; exposure (orders per hour, money) in decimals."""

FLEET_IN_FLIGHT = "fleet/inFlight"
FLEET_UNVERIFIED = "fleet/unverified"
ROLLBACK_SHARE = Decimal(33)
"""Default part of a cluster's tenants that may go back at the same time, in percent (AWS: out 5%, back 33%)."""


class Placed(Protocol):
    """Whatever sits on a cluster in a region: a planned target, a target row."""

    @property
    def cluster(self) -> str:
        """The cluster's name."""

    @property
    def region(self) -> str:
        """The region's name."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One row: `cap` None is no limit; `closed` (freeze, breaker) refuses every new reservation."""

    cap: Amount | None = None
    reserved: Amount = 0
    closed: bool = False

    def refuses(self, amount: Amount, extra: Amount = 0) -> Literal["closed", "full"] | None:
        """Whether `amount` more does not fit, when `extra` was already granted in this pass; None if it fits."""
        if self.closed:
            return "closed"
        return "full" if self.cap is not None and self.reserved + extra + amount > self.cap else None


def cluster_scope(cluster: str, what: str = "inFlight") -> str:
    """Name a cluster's budget."""
    return f"cluster:{cluster}/{what}"


def region_scope(region: str, what: str = "inFlight") -> str:
    """Name a region's budget; a region pair is one row under the pair's name."""
    return f"region:{region}/{what}"


def rollout_scope(rollout_id: str, what: str = "inFlight") -> str:
    """Name a rollout's own budget: `inFlight`, `unverified`, `cluster:<c>/inFlight`, `region:<r>/inFlight`."""
    return f"rollout:{rollout_id}/{what}"


def kind_of(scope: str) -> str:
    """Give the kind of a budget without the names in it, e.g. `cluster inFlight` of `cluster:aks-1/inFlight`."""
    return " ".join(part.partition(":")[0] for part in scope.split("/"))


def reservations_for(target: Placed, rollout_id: str, limits: ResolvedLimits) -> dict[str, int]:
    """Say what a target takes to go forward, in lock order.

    Taken at dispatch (before `preflight`); see `given_back` for when each part returns. Cluster and region scopes of
    the rollout exist only where its limits name them.
    """
    scopes = {
        FLEET_IN_FLIGHT,
        FLEET_UNVERIFIED,
        cluster_scope(target.cluster),
        region_scope(target.region),
        rollout_scope(rollout_id),
        rollout_scope(rollout_id, "unverified"),
    }
    if target.cluster in limits.per_cluster:
        scopes.add(rollout_scope(rollout_id, cluster_scope(target.cluster)))
    if target.region in limits.per_region:
        scopes.add(rollout_scope(rollout_id, region_scope(target.region)))
    return dict.fromkeys(sorted(scopes), 1)


def caps_for(rollout_id: str, limits: ResolvedLimits) -> dict[str, int]:
    """Give the budget rows a rollout brings with it, scope to cap, in lock order."""
    caps = {rollout_scope(rollout_id): limits.in_flight, rollout_scope(rollout_id, "unverified"): limits.unverified}
    caps |= {rollout_scope(rollout_id, cluster_scope(c)): n for c, n in limits.per_cluster.items()}
    caps |= {rollout_scope(rollout_id, region_scope(r)): n for r, n in limits.per_region.items()}
    return dict(sorted(caps.items()))


def rollback_reservations_for(target: Placed, database_server: str | None = None) -> dict[str, int]:
    """Say what a target takes besides what it holds already, to go back. Never shared with forward work."""
    scopes = [cluster_scope(target.cluster, "rollback")]
    if database_server is not None:
        scopes.append(f"database:{database_server}/rollback")
    return dict.fromkeys(sorted(scopes), 1)


def default_rollback_cap(tenants: int) -> int:
    """Give the cap of a rollback budget nobody configured: 33% of the tenants there, at least 1."""
    return share_of(ROLLBACK_SHARE, tenants)


EndState = Literal["verified", "rolledBack", "skipped", "cancelled", "deferred", "stuck"]


def given_back(taken: Mapping[str, Amount], state: EndState) -> dict[str, Amount]:
    """Say what of a target's reservations returns when it reaches `state`, in lock order.

    A soaking target keeps its place; `verified`, `rolledBack` and what never changed give all back. A stuck target
    leaves "in flight" and the rollback budget, but stays changed and not verified until a person mends it.
    """
    kept = "/unverified" if state == "stuck" else None
    return {scope: amount for scope, amount in sorted(taken.items()) if kept is None or not scope.endswith(kept)}


@dataclass(frozen=True, slots=True)
class Candidate[K]:
    """Somebody who wants to start, and what that takes."""

    key: K
    needs: Mapping[str, Amount]


@dataclass(frozen=True, slots=True)
class Refusal[K]:
    """Who has to wait, and for which scope."""

    key: K
    scope: str
    why: Literal["closed", "full"]


@dataclass(frozen=True)
class Grants[K]:
    """The outcome of one pass. `reserve` is what the pass adds to each budget, in lock order.

    `stopped_by`: the shared scope that ended the pass early; candidates after it were not looked at.
    """

    granted: tuple[K, ...] = ()
    refused: tuple[Refusal[K], ...] = ()
    reserve: Mapping[str, Amount] = field(default_factory=dict)
    stopped_by: str | None = None


def grant[K](
    candidates: Iterable[Candidate[K]], budgets: Mapping[str, Budget], *, shared: Collection[str] = ()
) -> Grants[K]:
    """Decide, in order, who starts now. Deterministic; never lets a budget pass its cap.

    A refused candidate does not hold up those behind it, unless they need the very scope that refused it: so one full
    cluster does not stop the others, and nobody overtakes on the scope somebody waits for (a large target would wait
    for ever). `shared` names scopes every candidate needs; when one refuses, the pass ends. A scope without a row is
    a mistake of the caller: LookupError.
    """
    extra: dict[str, Amount] = {}
    granted: list[K] = []
    refused: list[Refusal[K]] = []
    waiting: dict[str, Literal["closed", "full"]] = {}
    for candidate in candidates:
        no = _refusal(candidate, budgets, extra, waiting)
        if no is None:
            granted.append(candidate.key)
            for scope, amount in candidate.needs.items():
                extra[scope] = extra.get(scope, 0) + amount
            continue
        waiting[no.scope] = no.why
        refused.append(no)
        if no.scope in shared:
            return Grants(tuple(granted), tuple(refused), dict(sorted(extra.items())), no.scope)
    return Grants(tuple(granted), tuple(refused), dict(sorted(extra.items())))


def _refusal[K](
    candidate: Candidate[K],
    budgets: Mapping[str, Budget],
    extra: Mapping[str, Amount],
    waiting: Mapping[str, Literal["closed", "full"]],
) -> Refusal[K] | None:
    """Find the first scope that refuses a candidate, because somebody waits for it or it does not fit."""
    for scope, amount in candidate.needs.items():
        if scope not in budgets:
            raise LookupError(f"no budget row for scope {scope!r}: a limit nobody stored is not 'no limit'")
        why = waiting.get(scope) or budgets[scope].refuses(amount, extra.get(scope, 0))
        if why is not None:
            return Refusal(candidate.key, scope, why)
    return None
