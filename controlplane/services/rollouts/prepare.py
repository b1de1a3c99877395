"""From a wish to a plan that can be started: read, render, compare, plan. Writes nothing."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from controlplane.domain.decide_windows import window_notes
from controlplane.domain.emergencies import LeftOut, PlannedEmergency, check_emergency, check_size, relieved
from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.names import canonical_json, digest_of
from controlplane.domain.planner import plan
from controlplane.domain.plans import Plan
from controlplane.domain.requests import Ask, check_request
from controlplane.domain.ruling import Ruling
from controlplane.domain.strategies import Strategy
from controlplane.domain.targets import Phase, PhaseDuration, PlanInputs, ReleaseFacts, TargetFacts, TargetProblem
from controlplane.domain.windows import NEVER, Attached, opening
from controlplane.ports.stores.rollout_rows import NewContent
from controlplane.services.windows import attach

from .askable import notes_on
from .checks import Findings, examine
from .content import Given
from .facts import Offer, offers, release_facts, returns, target_facts
from .plan_gates import PlanLook, look_at_plan
from .ruling import read_book, rule, rules_in_force
from .snapshot import NamedStrategy, Snapshot, take_snapshot
from .tools import RolloutTools


@dataclass(frozen=True)
class Prepared:
    """A plan with what each of its targets would be given; `start` writes it down.

    `tenants_on`: how many environments each cluster has, the base of its rollback budget. `fleet`: the fleet
    limits. `contents`: the bodies to store, made before the transaction, which must not wait for them; none for a preview.
    `looks`: gates that would not pass now. `durations`, `windows`: what the plan's times were made from.
    """

    ask: Ask
    plan: Plan
    given: Mapping[str, Given]
    strategy: NamedStrategy
    tenants_on: Mapping[str, int]
    fleet: FleetLimits
    contents: Sequence[NewContent] = ()
    looks: tuple[PlanLook, ...] = ()
    durations: Mapping[str, PhaseDuration] = field(default_factory=dict)
    windows: Attached = field(default_factory=Attached)


async def prepare(tools: RolloutTools, ask: Ask, *, to_start: bool = True) -> Prepared:
    """Plan a rollout against the registry as it is now; with `to_start`, make the bodies it would store as well.

    Raises InvalidError `invalid-rollout`, `unknown-strategy`, `unknown-release`, `invalid-selector`,
    `selector-matches-nothing`, `unmatched-targets`, `too-many-waves`, and what a chart's artifact is refused for.
    """
    check_request(ask.request)
    async with tools.open() as uow:
        snapshot = await take_snapshot(uow, ask, tools.gates)
        book = await read_book(uow, ask, snapshot, await rules_in_force(uow))
        now = uow.now
    offered = await offers(ask, snapshot)
    ruling = await rule(tools, ask, snapshot, offered, book, now)
    findings = await examine(tools, snapshot, offered, ask.app, dry_run=not ask.installing)
    windows = await _windows(tools, snapshot, now)
    made = await asyncio.to_thread(_plan, ask, snapshot, offered, findings, ruling, windows, now)
    looks = await look_at_plan(tools.gate_ports, made, now)
    made = made.model_copy(update={"notes": (*made.notes, *(look.note() for look in looks))})
    given = {tenant: offer for tenant, offer in offered.items() if isinstance(offer, Given)}
    contents = await asyncio.to_thread(_contents, made, given) if to_start else ()
    return Prepared(
        ask,
        made,
        given,
        snapshot.strategy,
        snapshot.tenants_on,
        snapshot.fleet,
        contents,
        looks,
        snapshot.durations,
        windows,
    )


async def _windows(tools: RolloutTools, snapshot: Snapshot, now: datetime) -> Attached:
    """The windows of the targets; none for a rollback, which asks none."""
    if tools.expander is None:
        return Attached()
    return await attach(snapshot.attachments, tools.expander, snapshot.strategy.strategy.windows.default, now)


def _in_its_window(facts: TargetFacts, windows: Attached, start: datetime) -> TargetFacts:
    mine = windows.windows(facts.tenant)
    found = opening(mine, start) if mine is not None else None
    if found is None or found.open:
        return facts
    return replace(facts, window_opens=found.until or NEVER, window_reason=found.reason)


def _plan(
    ask: Ask,
    snapshot: Snapshot,
    offered: Mapping[str, Offer],
    findings: Findings,
    ruling: Ruling,
    windows: Attached,
    now: datetime,
) -> Plan:
    request, strategy = ask.request, snapshot.strategy
    relieved_strategy, emergency = _lane(ask, snapshot)
    if emergency is not None and emergency.skips_windows:
        windows = Attached()
    start = max(now, request.not_before or now)
    targets = [_in_its_window(one, windows, start) for one in _facts(ask, snapshot, offered, findings, ruling)]
    made = plan(
        PlanInputs(
            kind=request.kind,
            app=ask.app,
            environment=request.environment,
            strategy=relieved_strategy,
            strategy_name=strategy.name,
            strategy_version=strategy.version,
            targets=targets,
            now=now,
            release=_release(snapshot),
            selector=request.selector,
            not_before=request.not_before,
            durations=cast("Mapping[Phase, PhaseDuration]", snapshot.durations),
            ruling=ruling,
            windows=windows,
            fleet=snapshot.fleet,
        )
    )
    when_busy = request.when_busy or made.when_busy
    notes = (
        *made.notes,
        *findings.notes,
        *notes_on(made, _authors(snapshot), request.change_ref),
        *window_notes(made, windows),
    )
    if emergency is None or request.emergency is None or snapshot.criterion is None:
        return made.model_copy(update={"notes": notes, "when_busy": when_busy})
    check_size(*snapshot.criterion, made.size)
    made, emergency = _without_added(made, emergency)
    bound = digest_of([made.plan_hash, emergency.model_dump(mode="json")])
    return made.model_copy(update={"notes": notes, "when_busy": when_busy, "emergency": emergency, "plan_hash": bound})


def _facts(
    ask: Ask, snapshot: Snapshot, offered: Mapping[str, Offer], findings: Findings, ruling: Ruling
) -> list[TargetFacts]:
    """What the planner is told of each target, windows aside."""
    back = returns(ask, snapshot) if ask.request.kind == "rollback" and ask.contents is None else {}
    return [
        target_facts(
            row,
            offered.get(row.tenant),
            ask,
            back.get(row.tenant),
            findings.fits.get(row.tenant),
            findings.problems.get(row.tenant) or _refused(ruling, row.tenant),
            findings.unrecreatable.get(row.tenant, ()),
        )
        for row in snapshot.targets
    ]


def _lane(ask: Ask, snapshot: Snapshot) -> tuple[Strategy, PlannedEmergency | None]:
    """The strategy, in the emergency lane without what the request leaves out. Raises InvalidError `emergency-refused`."""
    wish, strategy = ask.request.emergency, snapshot.strategy.strategy
    if wish is None or snapshot.criterion is None:
        return strategy, None
    name, criterion = snapshot.criterion
    check_emergency(name, criterion, wish, ask.app, ask.request.change_ref)
    lighter, left_out = relieved(strategy, wish.skip)
    planned = PlannedEmergency(
        criterion=name,
        reason=wish.reason,
        skip=wish.skip,
        left_out=left_out,
        freezes=tuple(str(one) for one in wish.freezes),
        preempts=ask.request.when_busy is None,
    )
    return lighter, planned


def _without_added(made: Plan, emergency: PlannedEmergency) -> tuple[Plan, PlannedEmergency]:
    """Leave out the kinds also where risk rules added them; a rule that refuses stays."""
    added = tuple(
        LeftOut(wave=wave.name, place="before", kind=kind)
        for wave in made.waves
        for gate in wave.before
        if (kind := next(iter(gate))) in emergency.skip
    )
    if not added:
        return made, emergency
    waves = tuple(
        wave.model_copy(update={"before": tuple(g for g in wave.before if next(iter(g)) not in emergency.skip)})
        for wave in made.waves
    )
    lighter = emergency.model_copy(update={"left_out": (*emergency.left_out, *added)})
    return made.model_copy(update={"waves": waves}), lighter


def _authors(snapshot: Snapshot) -> tuple[str, ...]:
    """Who may not approve the release."""
    release = snapshot.release
    if release is None:
        return ()
    return tuple(name for name in (*release.spec.provenance.authors, release.row.on_behalf_of) if name)


def _refused(ruling: Ruling, tenant: str) -> TargetProblem | None:
    found = ruling.problem(tenant)
    return TargetProblem(*found) if found else None


def _release(snapshot: Snapshot) -> ReleaseFacts | None:
    return release_facts(snapshot.release.row, snapshot.release.spec) if snapshot.release else None


def _contents(made: Plan, given: Mapping[str, Given]) -> Sequence[NewContent]:
    """Rendered bodies and, under their own hashes, the values they were rendered with; what an earlier revision had is stored."""
    found = []
    values: dict[str, bytes] = {}
    for target in made.targets():
        what = given[target.tenant]
        body = what.body()
        if body is None:
            continue
        found.append(NewContent(target.tenant, what.content, body))
        if what.values_hash not in values:
            values[what.values_hash] = zlib.compress(canonical_json(what.values), 1)
        found.append(NewContent(target.tenant, what.values_hash, values[what.values_hash]))
    return found
