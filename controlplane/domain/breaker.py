"""The breaker: when too much of the fleet is ill, nothing forward starts anywhere, whoever asks. Pure.

As an electrician says it: closed, current flows; open, it does not; half-open, one target is let through to try. It opens by
itself, on signs counted over all rollouts; it tries again when a person says so, or after a quiet time.

    closed -> open -> half-open -> probing -> closed
                ^                     |
                +---- probe failed ---+
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from controlplane.domain.exposure import FLEET_IN_FLIGHT, BreakerState, cluster_scope
from controlplane.domain.fleet_limits import BreakerSpec, FailureBurn
from controlplane.domain.quantities import format_duration, parse_percent
from controlplane.domain.rollouts import TargetState

FLEET_BREAKER: Final = "fleet"
_SUFFIX: Final = "/inFlight"


def breaker_name(scope: str) -> str:
    """The name people use for the breaker of a budget: `fleet`, `cluster:aks-1`."""
    return scope.removesuffix(_SUFFIX)


def breaker_scope(name: str) -> str:
    """The budget that a breaker closes."""
    return name + _SUFFIX


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    part: int = 0
    of: int = 0

    @property
    def percent(self) -> Decimal:
        """The share in percent; nothing of nothing is 0."""
        return Decimal(100 * self.part) / self.of if self.of else Decimal(0)

    def __str__(self) -> str:
        return f"{self.part} of {self.of} ({self.percent:.1f}%)"


@dataclass(frozen=True, slots=True)
class Signs:
    """What was counted. `clusters`: unhealthy environments of all; `failed`: failures within the counted time;
    `long`, `short`: failed of all ended changes in the two windows of the burn rate.
    """

    clusters: Mapping[str, Share] = field(default_factory=dict)
    failed: int = 0
    long: Share = Share()
    short: Share = Share()

    @property
    def fleet(self) -> Share:
        """All clusters together."""
        shares = self.clusters.values()
        return Share(sum(s.part for s in shares), sum(s.of for s in shares))


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker that opens: which budget it closes, why as a stable code and as a sentence."""

    scope: str
    code: Literal["unhealthy-share", "failures", "burn-rate"]
    reason: str


def trips(spec: BreakerSpec, signs: Signs) -> tuple[Trip, ...]:
    """Say which breakers open: the fleet's for the first of its reasons, and each cluster's by its unhealthy share."""
    fleet = next(filter(None, (_unhealthy(spec, signs), _failures(spec, signs), _burn(spec.burn, signs))), None)
    clusters = (_cluster(spec, name, share) for name, share in sorted(signs.clusters.items()))
    return tuple(trip for trip in (fleet, *clusters) if trip is not None)


def _unhealthy(spec: BreakerSpec, signs: Signs) -> Trip | None:
    share = signs.fleet
    if spec.unhealthy is None or share.part < spec.at_least or share.percent < parse_percent(spec.unhealthy):
        return None
    return Trip(
        FLEET_IN_FLIGHT, "unhealthy-share", f"{share} of the fleet are unhealthy, the limit is {spec.unhealthy}"
    )


def _cluster(spec: BreakerSpec, name: str, share: Share) -> Trip | None:
    limit = spec.unhealthy_on_cluster
    if limit is None or share.part < spec.at_least or share.percent < parse_percent(limit):
        return None
    return Trip(
        cluster_scope(name), "unhealthy-share", f"{share} on cluster {name} are unhealthy, the limit is {limit}"
    )


def _failures(spec: BreakerSpec, signs: Signs) -> Trip | None:
    limit = spec.failures
    if limit is None or signs.failed < limit.count:
        return None
    span = format_duration(limit.within)
    reason = f"{signs.failed} targets of all rollouts failed within {span}, the limit is {limit.count}"
    return Trip(FLEET_IN_FLIGHT, "failures", reason)


def burn_rate(share: Share, allowed: str) -> Decimal:
    """How many times faster than allowed failures come: 1 is exactly what is allowed."""
    return share.percent / parse_percent(allowed)


def _burn(burn: FailureBurn | None, signs: Signs) -> Trip | None:
    if burn is None or signs.long.of < burn.at_least:
        return None
    long, short = burn_rate(signs.long, burn.allowed), burn_rate(signs.short, burn.allowed)
    if long < burn.rate or short < burn.rate:
        return None
    reason = (
        f"changes fail {long:.1f} times faster than the allowed {burn.allowed} over {format_duration(burn.long)} "
        f"and {short:.1f} times over {format_duration(burn.short)}; the limit is {burn.rate:f}"
    )
    return Trip(FLEET_IN_FLIGHT, "burn-rate", reason)


@dataclass(frozen=True, slots=True)
class Windows:
    """How far back `Signs` count, none further than since the breaker last closed."""

    failures: timedelta = timedelta(0)
    long: timedelta = timedelta(0)
    short: timedelta = timedelta(0)


def windows_of(spec: BreakerSpec) -> Windows:
    """The windows that a breaker's rules look at; 0 where there is no rule."""
    burn = spec.burn
    return Windows(
        spec.failures.within if spec.failures else timedelta(0),
        burn.long if burn else timedelta(0),
        burn.short if burn else timedelta(0),
    )


def after_quiet(spec: BreakerSpec, state: BreakerState, since: datetime, now: datetime) -> bool:
    """Whether an open breaker has been quiet for long enough to let one through."""
    return state == "open" and spec.quiet is not None and now >= since + spec.quiet


_FAILED = frozenset(
    {TargetState.FAILED, TargetState.ROLLING_BACK, TargetState.ROLLED_BACK, TargetState.STUCK},
)
_NOTHING_SEEN = frozenset({TargetState.SKIPPED, TargetState.CANCELLED, TargetState.DEFERRED, TargetState.PENDING})


def after_probe(target: TargetState | None) -> BreakerState | None:
    """What the probe's fate means: closed, open again, or half-open because nothing was tried; None: still on its way.

    `target` None: its row is gone.
    """
    if target is TargetState.VERIFIED:
        return ""
    if target in _FAILED:
        return "open"
    return "halfOpen" if target is None or target in _NOTHING_SEEN else None
