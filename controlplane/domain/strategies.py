"""A strategy: how a rollout cuts its waves, what it may touch at once, what it asks, and what it does on failure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, ValidationError, WithJsonSchema

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration, Limit, Money, parse_percent
from controlplane.domain.selectors import SelectorText, parse_selector
from controlplane.domain.wire import Wire, field_errors, pointer

SCHEMA_VERSION: Final = 1
MAX_WAVES = 31
"""As KubeFleet's stages; more waves than days in a month are a mistake in the strategy."""

BUILT_IN_GATES = frozenset({"soak"})

Unmatched = Literal["reject", "last", "exclude"]
WhenBusy = Literal["queue", "supersede", "reject"]
OnBlame = Literal["stop", "show"]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]


def _percent_text(value: str) -> str:
    parse_percent(value)
    return value


def _factor_in(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("a factor is a number such as 3 or 1.5")  # noqa: TRY004 - pydantic reports only ValueErrors
    return Decimal(str(value))


Percent = Annotated[str, AfterValidator(_percent_text), WithJsonSchema({"type": "string", "examples": ["10%"]})]
Factor = Annotated[
    Decimal,
    BeforeValidator(_factor_in),
    PlainSerializer(lambda d: int(d) if d == int(d) else float(d), return_type=float),
    WithJsonSchema({"type": "number", "minimum": 1, "maximum": 100}),
]
GateSpec = dict[str, JsonValue]
"""One gate as an object with one key, its kind: `{"approval": {"group": "business", "count": 1}}`."""


class Growth(Wire):
    """Cut several waves at once: `first` targets, then each wave `factor` times as many, until none are left."""

    first: int = Field(default=1, ge=1, description="Targets in the first of these waves.")
    factor: Factor = Field(default=Decimal(2), ge=1, le=100, description="Each wave is this many times the one before.")
    waves: int | None = Field(
        default=None, ge=1, le=MAX_WAVES, description="At most this many waves; absent: all that remain."
    )
    stratify_by: tuple[LabelKey, ...] = Field(
        default=(), max_length=5, description="Labels whose mix each wave should share with the fleet."
    )


class Cut(Wire):
    """Which targets a wave takes: those a selector matches, a count, a percent, or growing steps.

    A selector may stand alone (all it matches) or narrow one of the other three. Percent is of all planned targets
    that the selector matches, whatever earlier waves took.
    """

    selector: SelectorText | None = Field(default=None, description="Kubernetes label selector.")
    count: int | None = Field(default=None, ge=1, description="So many targets.")
    percent: Percent | None = Field(default=None, description="This share, rounded down and at least 1.")
    growth: Growth | None = Field(default=None, description="Growing steps; makes waves `<name>-1`, `<name>-2`, ...")
    stratify_by: tuple[LabelKey, ...] = Field(
        default=(),
        max_length=5,
        description="With count or percent: labels whose mix the wave should share with the fleet.",
    )


class Soak(Wire):
    """What a healthy target must show before it counts as verified: time and samples, both."""

    for_: Duration = Field(default=timedelta(0), alias="for", description="So long without ill health.")
    samples: int = Field(
        default=3, ge=1, le=100_000, description="So many healthy samples, taken while the watch is proven live."
    )


class WaveSpec(Wire):
    """One wave of a strategy (with `growth`: several)."""

    name: Name = Field(description="A DNS-1123 label, different from every other wave's.")
    cut: Cut = Field(description="Which targets the wave takes.")
    soak: Soak = Field(default_factory=Soak, description="What a target must show before it counts as verified.")
    before: tuple[GateSpec, ...] = Field(
        default=(), max_length=20, description="Gates that must pass before the wave starts."
    )
    before_each: tuple[GateSpec, ...] = Field(
        default=(),
        max_length=20,
        description="Gates that each target must pass on its own before it starts; one that waits lets later ones pass.",
    )
    after: tuple[GateSpec, ...] = Field(
        default=(), max_length=20, description="Gates that must pass after the last target soaked."
    )


class Limits(Wire):
    """What may be touched at once. A percent is of the plan's targets; of a list, the smallest wins."""

    in_flight: Limit = Field(
        default=Limit(("10%",)),
        json_schema_extra={"default": "10%"},
        description="Targets from preflight until verified; soaking ones count.",
    )
    unverified: Limit | None = Field(
        default=None, description="Targets changed and not verified, stuck ones included; absent: all."
    )
    per_cluster: Limit | None = Field(
        default=None, description="In flight on one cluster; a percent is of its targets in the plan."
    )
    per_region: Limit | None = Field(
        default=None, description="In flight in one region; a percent is of its targets in the plan."
    )
    per_region_pair: Limit | None = Field(
        default=None, description="In flight in one pair of regions (fleet limits name them); a percent as above."
    )
    per_brand: Limit | None = Field(
        default=None, description="In flight of one brand (the tenants' label `brand`); a percent as above."
    )
    exposure: Limit | None = Field(
        default=None, description="Orders per hour in flight; a percent is of those of all targets in the plan."
    )
    money_at_risk: Money | None = Field(
        default=None, description="Money at risk in flight; see the explanation of limits for how it is reckoned."
    )


class Success(Wire):
    """When a wave has succeeded: enough verified targets, few enough failures, and progress in time."""

    min: Limit | None = Field(
        default=None,
        description="Verified targets a wave needs, rounded down, at least 1; absent: all but maxFailures.",
    )
    max_failures: Limit = Field(
        default=Limit((0,)),
        json_schema_extra={"default": 0},
        description="Failed targets a wave bears; a percent is rounded up.",
    )
    progress_deadline: Duration = Field(
        default=timedelta(minutes=15), description="A target without progress for so long has failed."
    )
    disturbance_limit: Duration = Field(
        default=timedelta(hours=1),
        description="So long ill health is waited out that nodes, zones or dependencies explain; then the target goes back, unblamed.",
    )


class Windows(Wire):
    """How a rollout obeys calendars, and what to do with targets whose window stays closed."""

    wait: Duration = Field(default=timedelta(days=2), description="How long a wave waits for its last windows to open.")
    then: Literal["defer", "hold"] = Field(
        default="defer", description="defer: stragglers go to the catch-up list; hold: the wave waits for a person."
    )
    default: Literal["open", "closed"] = Field(
        default="open", description="What holds for a target without an allow calendar."
    )
    finish: Literal["wave", "target", "ignore"] = Field(
        default="wave",
        description="wave: a wave begins only if its windows stay open until it should be done (90th percentile); "
        "target: each target starts only if its own does; ignore: whoever is open starts.",
    )


class OnFailure(Wire):
    """The way back, and whether the rollout goes on."""

    roll_back: Literal["failed-targets", "wave", "rollout"] = Field(
        default="failed-targets", description="Who goes back: the failed targets, the whole wave, or all waves so far."
    )
    then: Literal["halt", "continue"] = Field(
        default="halt", description="After a failed wave: start no further wave, or go on with the next one."
    )
    max_failures: Limit | None = Field(
        default=None,
        description="Failed targets the whole rollout bears, over all waves, whatever `then` says; a percent is rounded up; "
        "absent: each wave's own limit is all.",
    )


class Order(Wire):
    """An integer label that orders targets before exposure and name do; targets without it come last."""

    label: LabelKey = Field(description="Key of a label whose value is a whole number; lower goes first.")


class Strategy(Wire):
    """The body of `PUT /v1/strategies/{name}`. Read one with `parse_strategy`, which also checks it as a whole."""

    schema_version: Literal[1] = Field(
        default=SCHEMA_VERSION, description="Version of this format; a newer one is refused."
    )
    waves: tuple[WaveSpec, ...] = Field(
        min_length=1,
        max_length=MAX_WAVES,
        description="In this order; a target belongs to the first wave that takes it.",
    )
    unmatched: Unmatched = Field(
        default="reject",
        description="Targets no wave takes: refuse the plan, make a last wave `rest`, or leave them out.",
    )
    limits: Limits = Field(default_factory=Limits, description="What may be touched at once.")
    success: Success = Field(default_factory=Success, description="When a wave has succeeded.")
    during: tuple[GateSpec, ...] = Field(
        default=(), max_length=20, description="Gates checked all the time while targets soak."
    )
    windows: Windows = Field(default_factory=Windows, description="Targets whose window stays closed.")
    on_failure: OnFailure = Field(
        default_factory=OnFailure, description="Who goes back when targets fail, and whether the rollout goes on."
    )
    when_busy: WhenBusy = Field(
        default="queue", description="When a target has another change: wait, take over, or refuse."
    )
    blame: OnBlame = Field(
        default="stop",
        description="When tenants fall ill while changes overlap. stop: a vote that blames this rollout halts it, and one that blames "
        "another holds its failures back; show: votes are shown and told only.",
    )
    order: Order | None = Field(default=None, description="Which targets go first, before exposure and name decide.")


def parse_strategy(body: Any, *, gates: Collection[str] = ()) -> Strategy:
    """Read and check a strategy body. `gates`: kinds of gate this installation has, besides the built-in soak.

    Raises InvalidError `invalid-strategy` with a JSON pointer for each thing wrong.
    """
    try:
        strategy = Strategy.model_validate(body)
    except ValidationError as error:
        raise _invalid(field_errors(error)) from error
    check_strategy(strategy, gates=gates)
    return strategy


def check_strategy(strategy: Strategy, *, gates: Collection[str] = ()) -> None:
    """Check what single fields can't say: names, overlap, percents that add up to more than all, unknown gates.

    Raises InvalidError `invalid-strategy`, or `gate-not-available` if unknown gates are all that is wrong.
    """
    unknown = _unknown_gates(strategy, frozenset(gates) | BUILT_IN_GATES)
    found = [*_cut_errors(strategy), *_name_errors(strategy), *_reach_errors(strategy), *_limit_errors(strategy)]
    if found:
        raise _invalid([*found, *unknown])
    if unknown:
        raise InvalidError(unknown[0].detail, code="gate-not-available", errors=unknown)


def _invalid(errors: Collection[FieldError]) -> InvalidError:
    listed = list(errors)
    more = f" ({len(listed) - 1} more below)" if len(listed) > 1 else ""
    detail = f"The strategy can't be used: {listed[0].pointer or '/'}: {listed[0].detail}{more}"
    return InvalidError(detail, code="invalid-strategy", errors=listed)


def _cut_errors(strategy: Strategy) -> list[FieldError]:
    found = []
    for index, wave in enumerate(strategy.waves):
        cut, at = wave.cut, ("waves", index, "cut")
        sizes = [
            n for n, v in (("count", cut.count), ("percent", cut.percent), ("growth", cut.growth)) if v is not None
        ]
        if len(sizes) > 1:
            found.append(FieldError(pointer(at), f"{' and '.join(sizes)} together: choose one"))
        elif not sizes and cut.selector is None:
            found.append(FieldError(pointer(at), "a cut needs a selector, a count, a percent or growth"))
        if cut.stratify_by and (cut.growth or not sizes):
            hint = "inside growth" if cut.growth else "only with count or percent (a selector takes all it matches)"
            found.append(FieldError(pointer([*at, "stratifyBy"]), f"stratifyBy goes {hint}"))
    return found


def _name_errors(strategy: Strategy) -> list[FieldError]:
    """Names of waves, those that growth and `unmatched: last` make included, must differ."""
    found: list[FieldError] = []
    seen: dict[str, int] = {}
    growing = [w.name for w in strategy.waves if w.cut.growth]
    for index, wave in enumerate(strategy.waves):
        at = pointer(["waves", index, "name"])
        if wave.name in seen:
            found.append(FieldError(at, f"wave {wave.name!r} is already at /waves/{seen[wave.name]}"))
        seen.setdefault(wave.name, index)
        base, _, number = wave.name.rpartition("-")
        if not wave.cut.growth and base in growing and number.isdigit():
            found.append(FieldError(at, f"growth of wave {base!r} makes waves of this name"))
        if wave.name == "rest" and strategy.unmatched == "last":
            found.append(FieldError(at, "unmatched: last makes a wave of this name"))
    return found


def _reach_errors(strategy: Strategy) -> list[FieldError]:
    """A wave that earlier waves leave nothing for is a mistake; so are percents of more than everything."""
    found: list[FieldError] = []
    takers: dict[str, int] = {}
    shares: dict[str, Decimal] = {}
    for index, wave in enumerate(strategy.waves):
        cut, at = wave.cut, ("waves", index, "cut")
        key = str(parse_selector(cut.selector or ""))
        taker = takers.get("", takers.get(key))
        if taker is not None:
            earlier = strategy.waves[taker].name
            found.append(FieldError(pointer(at), f"wave {earlier!r} already takes every target this cut could take"))
        if cut.percent:
            shares[key] = shares.get(key, Decimal(0)) + parse_percent(cut.percent)
            if shares[key] > 100:
                found.append(
                    FieldError(pointer([*at, "percent"]), f"percents add up to {shares[key]}% of the same targets")
                )
        if takes_all(cut) and cut != Cut():
            takers.setdefault(key, index)
    return found


def takes_all(cut: Cut) -> bool:
    """Whether nothing its selector matches is left after this cut."""
    if cut.growth is not None:
        return cut.growth.waves is None
    return cut.count is None and (cut.percent is None or parse_percent(cut.percent) == 100)


def _limit_errors(strategy: Strategy) -> list[FieldError]:
    """A limit of 0 would let nothing start; `maxFailures: 0` is fine (bears none)."""
    found = []
    limits = {"inFlight": strategy.limits.in_flight, "unverified": strategy.limits.unverified}
    limits |= {"perCluster": strategy.limits.per_cluster, "perRegion": strategy.limits.per_region}
    limits |= {"perRegionPair": strategy.limits.per_region_pair, "perBrand": strategy.limits.per_brand}
    limits |= {"exposure": strategy.limits.exposure}
    for name, limit in limits.items():
        if limit is not None and 0 in limit.terms:
            found.append(
                FieldError(pointer(["limits", name]), "0 would never let anything start; to stop everything, freeze")
            )
    money = strategy.limits.money_at_risk
    if money is not None and money.amount <= 0:
        found.append(FieldError("/limits/moneyAtRisk/amount", "must be more than 0; to stop everything, freeze"))
    if strategy.success.min is not None and 0 in strategy.success.min.terms:
        found.append(FieldError("/success/min", "0 would call a wave without one healthy target a success"))
    if strategy.success.progress_deadline <= timedelta(0):
        found.append(FieldError("/success/progressDeadline", "must be longer than PT0S"))
    return found


def gates_at(strategy: Strategy) -> list[tuple[tuple[str | int, ...], GateSpec]]:
    """Every gate of a strategy with the path to where it stands, such as `("waves", 0, "beforeEach", 1)`."""
    found: list[tuple[tuple[str | int, ...], GateSpec]] = [(("during", i), g) for i, g in enumerate(strategy.during)]
    for number, wave in enumerate(strategy.waves):
        places = {"before": wave.before, "beforeEach": wave.before_each, "after": wave.after}
        found += [(("waves", number, place, i), g) for place, gates in places.items() for i, g in enumerate(gates)]
    return found


def _unknown_gates(strategy: Strategy, known: frozenset[str]) -> list[FieldError]:
    found = []
    for at, gate in gates_at(strategy):
        if len(gate) != 1:
            found.append(
                FieldError(pointer(at), 'a gate is an object with one key, its kind, such as {"approval": {...}}')
            )
            continue
        kind = next(iter(gate))
        if kind not in known:
            have = ", ".join(sorted(known - BUILT_IN_GATES)) or "none"
            found.append(FieldError(pointer(at), f"Gate kind {kind!r} is not available here. Available: {have}."))
    return found
