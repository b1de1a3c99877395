"""Budgets: what may be touched at once, by whom, and who gets the next place. Pure; the rows live in PostgreSQL.

A budget is a scope with a cap and what is reserved of it. A target takes one of each of its scopes when it is
dispatched and gives back exactly what it took. Scopes are locked and updated in the order of their bytes (Python's
order of `str` for these ASCII names; `COLLATE "C"` in PostgreSQL), so that two drivers can't wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

from controlplane.domain.quantities import share_of

if TYPE_CHECKING:
    from controlplane.domain.plans import ResolvedLimits

Amount = int | Decimal
"""Targets are counted in whole numbers; exposure (orders per hour, money) in decimals."""

FLEET_IN_FLIGHT = "fleet/inFlight"
FLEET_UNVERIFIED = "fleet/unverified"
FLEET_EXPOSURE = "fleet/exposure"
"""Orders per hour of the targets in flight."""
FLEET_MONEY = "fleet/moneyAtRisk"
"""Money at risk of the targets in flight, in the reporting currency."""
type BreakerState = Literal["", "open", "halfOpen", "probing"]
"""Empty: closed, as an electrician says it; current flows."""

type Why = Literal["closed", "tripped", "full", "never"]
"""`never`: larger alone than the whole cap, so that no waiting helps."""

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

    @property
    def brand(self) -> str:
        """The value of the tenant's label `brand`; empty: it has none."""

    @property
    def region_pair(self) -> str:
        """The configured pair its region belongs to; empty: none."""

    @property
    def orders_per_hour(self) -> Decimal:
        """Its exposure."""

    @property
    def money_at_risk(self) -> Decimal:
        """What an accident with it would cost, in the reporting currency; 0: nothing, or unknown."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One row: `cap` None is no limit; `closed` (by a freeze) refuses every new reservation.

    `breaker`: where the scope's breaker stands. Open or while its probe is out it refuses as well; half-open it lets one
    target through.
    """

    cap: Amount | None = None
    reserved: Amount = 0
    closed: bool = False
    breaker: BreakerState = ""

    def refuses(self, amount: Amount, extra: Amount = 0) -> Why | None:
        """Whether `amount` more does not fit, when `extra` was already granted in this pass; None if it fits."""
        if self.closed:
            return "closed"
        if self.breaker in ("open", "probing") or (self.breaker and extra):
            return "tripped"
        if self.cap is None or self.reserved + extra + amount <= self.cap:
            return None
        return "never" if amount > self.cap else "full"


def cluster_scope(cluster: str, what: str = "inFlight") -> str:
    """Name a cluster's budget."""
    return f"cluster:{cluster}/{what}"


def region_scope(region: str, what: str = "inFlight") -> str:
    """Name a region's budget."""
    return f"region:{region}/{what}"


def pair_scope(pair: str, what: str = "inFlight") -> str:
    """Name the budget of a pair of regions."""
    return f"pair:{pair}/{what}"


def brand_scope(brand: str, what: str = "inFlight") -> str:
    """Name a brand's budget."""
    return f"brand:{brand}/{what}"


def rollout_scope(rollout_id: str, what: str = "inFlight") -> str:
    """Name a rollout's own budget: `inFlight`, `unverified`, `exposure`, `moneyAtRisk`, `cluster:<c>/inFlight`, ..."""
    return f"rollout:{rollout_id}/{what}"


def kind_of(scope: str) -> str:
    """Give the kind of a budget without the names in it, e.g. `cluster inFlight` of `cluster:aks-1/inFlight`."""
    return " ".join(part.partition(":")[0] for part in scope.split("/"))


def shared_scopes(target: Placed) -> dict[str, Amount]:
    """What a target takes, to go forward, of the budgets it shares with other rollouts.

    Exposure and money are taken only by a target that has some: nobody takes 0.
    """
    takes: dict[str, Amount] = {
        FLEET_IN_FLIGHT: 1,
        FLEET_UNVERIFIED: 1,
        cluster_scope(target.cluster): 1,
        region_scope(target.region): 1,
    }
    if target.region_pair:
        takes[pair_scope(target.region_pair)] = 1
    if target.brand:
        takes[brand_scope(target.brand)] = 1
    if target.orders_per_hour:
        takes[FLEET_EXPOSURE] = target.orders_per_hour
    if target.money_at_risk:
        takes[FLEET_MONEY] = target.money_at_risk
    return takes


def reservations_for(target: Placed, rollout_id: str, limits: ResolvedLimits) -> dict[str, Amount]:
    """Say what a target takes to go forward, in lock order.

    Taken at dispatch (before `preflight`); see `given_back` for when each part returns. Other scopes of the rollout than
    `inFlight` and `unverified` exist only where its limits name them.
    """
    takes = shared_scopes(target)
    own: dict[str, Amount] = {"inFlight": 1, "unverified": 1}
    if target.cluster in limits.per_cluster:
        own[cluster_scope(target.cluster)] = 1
    if target.region in limits.per_region:
        own[region_scope(target.region)] = 1
    if target.region_pair in limits.per_region_pair:
        own[pair_scope(target.region_pair)] = 1
    if target.brand in limits.per_brand:
        own[brand_scope(target.brand)] = 1
    if limits.exposure is not None and target.orders_per_hour:
        own["exposure"] = target.orders_per_hour
    if limits.money_at_risk is not None and target.money_at_risk:
        own["moneyAtRisk"] = target.money_at_risk
    takes |= {rollout_scope(rollout_id, what): amount for what, amount in own.items()}
    return dict(sorted(takes.items()))


def caps_for(rollout_id: str, limits: ResolvedLimits) -> dict[str, Amount]:
    """Give the budget rows a rollout brings with it, scope to cap, in lock order."""
    own: dict[str, Amount] = {"inFlight": limits.in_flight, "unverified": limits.unverified}
    own |= {cluster_scope(c): n for c, n in limits.per_cluster.items()}
    own |= {region_scope(r): n for r, n in limits.per_region.items()}
    own |= {pair_scope(p): n for p, n in limits.per_region_pair.items()}
    own |= {brand_scope(b): n for b, n in limits.per_brand.items()}
    own |= {"exposure": limits.exposure} if limits.exposure is not None else {}
    own |= {"moneyAtRisk": limits.money_at_risk} if limits.money_at_risk is not None else {}
    return dict(sorted((rollout_scope(rollout_id, what), cap) for what, cap in own.items()))


def rollback_reservations_for(target: Placed, database_server: str | None = None) -> dict[str, Amount]:
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
    why: Why


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
    for ever; one that is larger than the whole cap waits for nothing and holds nobody up). `shared` names scopes every
    candidate needs; when one refuses, the pass ends. A scope without a row is a mistake of the caller: LookupError.
    """
    extra: dict[str, Amount] = {}
    granted: list[K] = []
    refused: list[Refusal[K]] = []
    waiting: dict[str, Why] = {}
    for candidate in candidates:
        no = _refusal(candidate, budgets, extra, waiting)
        if no is None:
            granted.append(candidate.key)
            for scope, amount in candidate.needs.items():
                extra[scope] = extra.get(scope, 0) + amount
            continue
        refused.append(no)
        if no.why == "never":
            continue
        waiting[no.scope] = no.why
        if no.scope in shared:
            return Grants(tuple(granted), tuple(refused), dict(sorted(extra.items())), no.scope)
    return Grants(tuple(granted), tuple(refused), dict(sorted(extra.items())))


def _refusal[K](
    candidate: Candidate[K],
    budgets: Mapping[str, Budget],
    extra: Mapping[str, Amount],
    waiting: Mapping[str, Why],
) -> Refusal[K] | None:
    """Find the first scope that refuses a candidate, because somebody waits for it or it does not fit."""
    for scope, amount in candidate.needs.items():
        if scope not in budgets:
            raise LookupError(f"no budget row for scope {scope!r}: a limit nobody stored is not 'no limit'")
        why = waiting.get(scope) or budgets[scope].refuses(amount, extra.get(scope, 0))
        if why is not None:
            return Refusal(candidate.key, scope, why)
    return None
