"""What each target has at stake, and what of it a plan may hold in flight at once. Pure.

Money at risk of one target, in the reporting currency:

    orders per hour x value of an order x (p90 until it is seen + p90 of the way back + p90 of a restore) in hours

The restore counts where the way back is not a plain `reapply`. Times come from the history of the app's last rollouts; without
history, `forecast.ASSUMED` stands in, and until a failure is seen counts as long as applying and verifying take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_UP, Decimal

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.exclusions import way_back_of
from controlplane.domain.forecast import ASSUMED, work_time
from controlplane.domain.plans import Exclusion, Note
from controlplane.domain.quantities import Money
from controlplane.domain.targets import Phase, PlanInputs, TargetFacts

_CENT = Decimal("0.01")
_HOUR = Decimal(3600)
_NAMED = 10


@dataclass(frozen=True, slots=True)
class StakeLimits:
    """The limits on what may be at stake, in numbers: orders per hour, money in the reporting currency."""

    exposure: int | None
    money: Decimal | None


def with_stakes(targets: Sequence[TargetFacts], inputs: PlanInputs) -> list[TargetFacts]:
    """Give each target its money at risk and its pair of regions."""
    return [
        replace(
            target,
            money_at_risk=money_at_risk(target, inputs) or Decimal(0),
            region_pair=inputs.fleet.pair_of(target.region),
        )
        for target in targets
    ]


def money_at_risk(target: TargetFacts, inputs: PlanInputs) -> Decimal | None:
    """What an accident with this target would cost; None: its currency has no rate, so nobody knows."""
    value = target.value_per_order
    if value is None or not target.value_per_hour():
        return Decimal(0)
    converted = inputs.fleet.converted(Money(amount=target.value_per_hour(), currency=value.currency))
    if converted is None:
        return None
    restore = _restores(target, inputs)
    return (converted * seconds_at_risk(inputs, restore=restore) / _HOUR).quantize(_CENT, rounding=ROUND_UP)


def seconds_at_risk(inputs: PlanInputs, *, restore: bool) -> Decimal:
    """How long an accident lasts: 90th percentiles until it is seen, of the way back, and of a restore, in seconds."""
    database = inputs.release.database if inputs.release else "none"
    seen = inputs.durations.get("detection")
    parts = [seen.p90 if seen else work_time(database, inputs.durations).exposed_p90]
    after: tuple[Phase, ...] = ("back", "restore") if restore else ("back",)
    parts += [inputs.durations.get(phase, ASSUMED[phase]).p90 for phase in after]
    return Decimal(str(round(sum(parts), 3)))


def stake_limits(inputs: PlanInputs, targets: Sequence[TargetFacts]) -> StakeLimits:
    """Resolve the strategy's limits; a percent of exposure is of these targets' orders per hour.

    Raises InvalidError `no-rate` if the limit is in a currency without a rate.
    """
    limits = inputs.strategy.limits
    total = int(sum((t.orders_per_hour for t in targets), Decimal(0)))
    money = None
    if limits.money_at_risk is not None:
        money = inputs.fleet.converted(limits.money_at_risk)
        if money is None:
            raise _no_rate(limits.money_at_risk, inputs)
    return StakeLimits(limits.exposure.resolve(max(1, total)) if limits.exposure else None, money)


def _no_rate(money: Money, inputs: PlanInputs) -> InvalidError:
    detail = (
        f"The strategy limits money at risk in {money.currency}, for which the fleet limits hold no rate to "
        f"{inputs.fleet.currency}. Add rates.{money.currency} with PUT /v1/limits/fleet, or write the limit in {inputs.fleet.currency}."
    )
    return InvalidError(detail, code="no-rate", errors=[FieldError("/strategy", f"no rate for {money.currency}")])


def too_much_at_stake(target: TargetFacts, inputs: PlanInputs, limits: StakeLimits) -> Exclusion | None:
    """Whether a target alone is more than a limit allows, or can't be measured where money is limited: it would wait for ever."""
    found = _above(target, inputs, limits) or _unmeasured(target, inputs, limits)
    if found is None:
        return None
    code, detail = found
    return Exclusion(tenant=target.tenant, environment=target.environment, code=code, detail=detail)


def _above(target: TargetFacts, inputs: PlanInputs, limits: StakeLimits) -> tuple[str, str] | None:
    fleet = inputs.fleet
    orders, money = target.orders_per_hour, target.money_at_risk
    checks = (
        (orders, limits.exposure, "orders per hour", "the strategy's limits.exposure"),
        (orders, fleet.exposure, "orders per hour", "the fleet's limit exposure"),
        (money, limits.money, f"{fleet.currency} at risk", "the strategy's limits.moneyAtRisk"),
        (money, fleet.money_at_risk, f"{fleet.currency} at risk", "the fleet's limit moneyAtRisk"),
    )
    for has, cap, unit, name in checks:
        if cap is not None and has > cap:
            detail = (
                f"It alone has {has:f} {unit}; {name} is {cap:f}. Raise that limit, or give it a rollout of its own."
            )
            return "exceeds-limit", detail
    return None


def _unmeasured(target: TargetFacts, inputs: PlanInputs, limits: StakeLimits) -> tuple[str, str] | None:
    if limits.money is None and inputs.fleet.money_at_risk is None:
        return None
    value = target.value_per_order
    if value is None or money_at_risk(target, inputs) is not None:
        return None
    detail = (
        f"Money at risk is limited, and its exposure is in {value.currency}, for which there is no rate to "
        f"{inputs.fleet.currency}. Add rates.{value.currency} with PUT /v1/limits/fleet."
    )
    return "no-rate", detail


def stake_notes(inputs: PlanInputs, targets: Sequence[TargetFacts]) -> list[Note]:
    """Say what of the money at risk is not counted, and what rests on assumptions."""
    foreign = {t.value_per_order.currency for t in targets if t.value_per_order and t.orders_per_hour}
    missing = sorted(c for c in foreign if inputs.fleet.converted(Money(amount=Decimal(1), currency=c)) is None)
    notes = []
    if missing:
        detail = (
            f"Money at risk leaves out what is in {', '.join(missing[:_NAMED])}: the fleet limits hold no rate "
            f"to {inputs.fleet.currency}."
        )
        notes.append(Note(code="money-not-counted", detail=detail))
    if any(t.money_at_risk for t in targets) and not {"detection", "back"} <= inputs.durations.keys():
        seconds = seconds_at_risk(inputs, restore=False)
        detail = f"No history of failures: money at risk assumes {seconds:f} s until a failure is seen and undone."
        notes.append(Note(code="risk-assumed", detail=detail))
    restored = sum(1 for t in targets if t.money_at_risk and _restores(t, inputs))
    if restored and "restore" not in inputs.durations:
        assumed = ASSUMED["restore"].p90
        detail = f"No restore was recorded: money at risk of {restored} targets without a plain way back assumes {assumed:.0f} s for one."
        notes.append(Note(code="restore-assumed", detail=detail))
    return notes


def _restores(target: TargetFacts, inputs: PlanInputs) -> bool:
    return way_back_of(target, inputs, timedelta(0)).kind != "reapply"
