"""The limits of the whole fleet (`PUT /v1/limits/fleet`): caps that hold across all rollouts, currencies, the breaker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.exposure import (
    FLEET_EXPOSURE,
    FLEET_IN_FLIGHT,
    FLEET_MONEY,
    FLEET_UNVERIFIED,
    Amount,
    brand_scope,
    cluster_scope,
    pair_scope,
    region_scope,
)
from controlplane.domain.names import Name
from controlplane.domain.quantities import MAX_COUNT, Duration, Limit, Money
from controlplane.domain.quantities import Amount as AmountText
from controlplane.domain.strategies import Percent
from controlplane.domain.wire import Wire

FLEET: Final = "fleet"
"""The one name of this kind of configuration."""
DEFAULT_CURRENCY: Final = "EUR"

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


def _lets_something_start(cap: Limit) -> Limit:
    if 0 in cap.terms:
        raise ValueError(
            "a cap is greater than or equal to 1: 0 would let nothing start, for ever; to stop everything, freeze"
        )
    return cap


Cap = Annotated[Limit, AfterValidator(_lets_something_start)]
"""Targets: a number, a percent of the environments that the budget is about, or a list of both of which the smallest wins."""
Currency = Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
BrandName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")]
Positive = Annotated[AmountText, Field(gt=0)]


@dataclass(frozen=True)
class FleetSize:
    """How many environments there are, of tenants that were not offboarded: what percents are of."""

    environments: int = 0
    clusters: Mapping[str, int] = field(default_factory=dict)
    regions: Mapping[str, int] = field(default_factory=dict)
    brands: Mapping[str, int] = field(default_factory=dict)


class ClusterCaps(Wire):
    """Caps of one cluster. `rollback` absent: a third of its tenants."""

    in_flight: Cap | None = Field(default=None, description="Targets in flight on it, all rollouts.")
    rollback: Cap | None = Field(default=None, description="Targets on their way back at once; absent: 33%.")


class RegionPair(Wire):
    """Two regions that stand in for each other, so that a mistake in both at once has nowhere to go: one budget."""

    regions: Annotated[tuple[Name, ...], Field(min_length=2, max_length=2)]
    in_flight: Cap | None = Field(default=None, description="Targets in flight in both together, all rollouts.")


class FailureCount(Wire):
    """So many failed targets, of all rollouts, within a time."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    within: Duration = timedelta(hours=1)


class FailureBurn(Wire):
    """The share of changes that may fail, and how many times faster than that it may be used up, in two windows.

    Both windows must burn at `rate`: the long one says that it matters, the short one that it still goes on
    (Google SRE Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").
    """

    allowed: Percent = "1%"
    rate: Annotated[AmountText, Field(ge=1)] = Decimal("14.4")
    long: Duration = timedelta(hours=1)
    short: Duration = timedelta(minutes=5)
    at_least: Annotated[int, Field(ge=1, le=MAX_COUNT)] = Field(
        default=10, description="Changes in the long window below which nothing is said."
    )


class BreakerSpec(Wire):
    """When the fleet's breaker opens, and when it tries again."""

    unhealthy: Percent | None = Field(default="25%", description="Unhealthy share of the fleet that opens it.")
    unhealthy_on_cluster: Percent | None = Field(
        default="50%", description="Unhealthy share of one cluster that opens that cluster's."
    )
    at_least: Annotated[int, Field(ge=1, le=MAX_COUNT)] = Field(
        default=10, description="Unhealthy tenants below which no share opens it: in small fleets one is a large share."
    )
    failures: FailureCount | None = Field(default=None, description="Failures over time that open it.")
    burn: FailureBurn | None = Field(default=None, description="Burn rate of failures that opens it.")
    quiet: Duration | None = Field(
        default=None, description="After so long it lets one target through; absent: only a person makes it try."
    )


class FleetLimits(Wire):
    """The body of `PUT /v1/limits/fleet`. What is absent is counted and not limited."""

    currency: Currency = Field(default=DEFAULT_CURRENCY, description="The currency money at risk is reported in.")
    rates: dict[Currency, Positive] = Field(
        default_factory=dict, max_length=200, description="What one unit of another currency is worth in `currency`."
    )
    in_flight: Cap | None = Field(default=None, description="Targets in flight, all rollouts.")
    unverified: Cap | None = Field(default=None, description="Targets changed and not verified, stuck ones included.")
    exposure: Count | None = Field(default=None, description="Orders per hour of all targets in flight.")
    money_at_risk: Positive | None = Field(default=None, description="Money at risk of all targets in flight.")
    clusters: dict[Name, ClusterCaps] = Field(default_factory=dict, max_length=1000)
    regions: dict[Name, Cap] = Field(default_factory=dict, max_length=200, description="In flight by region.")
    region_pairs: dict[Name, RegionPair] = Field(default_factory=dict, max_length=100)
    brands: dict[BrandName, Cap] = Field(
        default_factory=dict, max_length=1000, description="In flight by the tenants' label `brand`."
    )
    breaker: BreakerSpec = BreakerSpec()
    blame: Literal["stop", "show"] = Field(
        default="stop", description="show: votes on blame are shown and told, and change nothing in the whole fleet."
    )

    @model_validator(mode="after")
    def _each_region_in_one_pair(self) -> Self:
        regions = [region for pair in self.region_pairs.values() for region in pair.regions]
        if len(set(regions)) != len(regions):
            twice = sorted({r for r in regions if regions.count(r) > 1})
            raise ValueError(f"{', '.join(twice)}: a region belongs to one pair, and a pair has two different regions")
        if self.currency in self.rates:
            raise ValueError(f"{self.currency} is the reporting currency, so it needs no rate")
        return self

    def pair_of(self, region: str) -> str:
        """The pair that a region belongs to, or an empty string."""
        return next((name for name, pair in self.region_pairs.items() if region in pair.regions), "")

    def converted(self, money: Money) -> Decimal | None:
        """An amount in the reporting currency; None if nobody gave a rate: then it is unknown, never 0."""
        if money.currency == self.currency:
            return money.amount
        rate = self.rates.get(money.currency)
        return None if rate is None else money.amount * rate

    def caps(self, size: FleetSize) -> dict[str, Amount]:
        """Every cap this names, scope to cap, in lock order. `rollback` of a cluster is among them.

        A percent rounds down and is at least 1; where nobody is (yet), it is 1.
        """
        found: dict[str, Amount | None] = {scope: cap.resolve(of) for scope, cap, of in self._counted(size)}
        found |= {FLEET_EXPOSURE: self.exposure, FLEET_MONEY: self.money_at_risk}
        return {scope: cap for scope, cap in sorted(found.items()) if cap is not None}

    def follows_the_fleet(self) -> bool:
        """Whether a cap is a percent, so that it changes with the number of tenants."""
        return any(isinstance(term, str) for _, cap, _ in self._counted(FleetSize()) for term in cap.terms)

    def rollback_cap(self, cluster: str, tenants: int) -> int | None:
        """The cap of a cluster's way back, with so many tenants there; None: nobody said."""
        caps = self.clusters.get(cluster)
        return caps.rollback.resolve(tenants) if caps and caps.rollback else None

    def _counted(self, size: FleetSize) -> Iterator[tuple[str, Limit, int]]:
        """Caps on a number of targets: scope, cap, and what a percent of it is of."""
        for scope, cap in ((FLEET_IN_FLIGHT, self.in_flight), (FLEET_UNVERIFIED, self.unverified)):
            if cap:
                yield scope, cap, size.environments
        for name, caps in self.clusters.items():
            there = size.clusters.get(name, 0)
            for scope, cap in ((cluster_scope(name), caps.in_flight), (cluster_scope(name, "rollback"), caps.rollback)):
                if cap:
                    yield scope, cap, there
        for name, region_cap in self.regions.items():
            yield region_scope(name), region_cap, size.regions.get(name, 0)
        for name, pair in self.region_pairs.items():
            if pair.in_flight:
                yield pair_scope(name), pair.in_flight, sum(size.regions.get(region, 0) for region in pair.regions)
        for name, brand_cap in self.brands.items():
            yield brand_scope(name), brand_cap, size.brands.get(name, 0)


def check_name(name: str) -> None:
    """Refuse limits under any other name than `fleet`: nothing would obey them. Raises InvalidError `invalid-limits`."""
    if name != FLEET:
        detail = f"There is one set of fleet limits, named {FLEET}; nothing would obey one named {name!r}."
        raise InvalidError(detail, code="invalid-limits", errors=[FieldError("/name", f"must be {FLEET}")])
