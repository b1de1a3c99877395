"""Risk rules over a plan's targets: reads what they look at, evaluates them within limits, and says what follows."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.errors import InvalidError
from controlplane.domain.requests import Ask
from controlplane.domain.rule_variables import (
    UTC_ZONE,
    CaseMaker,
    TimesByZone,
    release_variable,
    rollout_variable,
    tenant_variable,
)
from controlplane.domain.rules import RuleSpec
from controlplane.domain.ruling import Case, Rule, Ruling, rule_on
from controlplane.domain.selectors import labels_of
from controlplane.ports.expressions import Expressions
from controlplane.ports.stores.rollout_rows import TargetRow
from controlplane.ports.uow import UnitOfWork

from .content import Given
from .facts import Offer
from .snapshot import Snapshot
from .tools import RolloutTools

_PAGE = 500


@dataclass(frozen=True)
class RuleBook:
    """The rules in force, and what they look at besides the snapshot. `attested`: version -> kind -> newest attestation."""

    specs: Mapping[str, tuple[int, RuleSpec]] = field(default_factory=dict)
    calendars: Mapping[str, CalendarSpec] = field(default_factory=dict)
    attested: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)


def ruled(ask: Ask) -> bool:
    """Whether rules apply at all: a way back and a first installation are not held up by them."""
    return ask.request.kind != "rollback" and not ask.installing


async def rules_in_force(uow: UnitOfWork) -> dict[str, tuple[int, RuleSpec]]:
    """Every rule by name, with its version."""
    found: dict[str, tuple[int, RuleSpec]] = {}
    after: str | None = None
    while True:
        records = await uow.configuration.page("rules", after, _PAGE)
        found |= {r.name: (r.version, RuleSpec.model_validate(r.spec)) for r in records}
        if len(records) < _PAGE:
            return found
        after = records[-1].name


async def read_book(
    uow: UnitOfWork, ask: Ask, snapshot: Snapshot, specs: Mapping[str, tuple[int, RuleSpec]]
) -> RuleBook:
    """Read what these rules may look at, in the transaction that the snapshot was taken in."""
    if not specs or not ruled(ask):
        return RuleBook()
    calendars = {n: CalendarSpec.model_validate(s) for n, s in (await uow.rollouts.configs("calendars")).items()}
    versions = {snapshot.release.row.version} if snapshot.release else set(snapshot.others)
    attested = {version: await uow.evidence.newest(ask.app, version) for version in sorted(versions)}
    return RuleBook(specs, calendars, attested)


async def rule(
    tools: RolloutTools, ask: Ask, snapshot: Snapshot, offered: Mapping[str, Offer], book: RuleBook, now: datetime
) -> Ruling:
    """What the rules in force say of each target. Where nothing can evaluate them here, every target is unclear."""
    if not book.specs:
        return Ruling()
    if tools.expressions is None:
        name, (version, spec) = next(iter(book.specs.items()))
        why = (Rule(name, version, spec, frozenset()), "this process evaluates no expressions")
        return Ruling(unclear={row.tenant: why for row in snapshot.targets})
    rules = [Rule(name, v, spec, uses_of(tools.expressions, spec)) for name, (v, spec) in sorted(book.specs.items())]
    zones = {place.tenant: place.zone for place in snapshot.attachments.places}
    times = await _times(tools, rules, book, frozenset(zones.values()), now)
    values = await _repeated_values(tools, ask, rules)
    cases = await asyncio.to_thread(_cases, _Reading(ask, snapshot, book, times, zones, values, now), offered)
    return await asyncio.to_thread(rule_on, rules, cases, tools.expressions.test)


def uses_of(expressions: Expressions, spec: RuleSpec) -> frozenset[str]:
    """The variables a rule looks at; all of them where it does not even compile, so that evaluating says so."""
    try:
        return expressions.uses(spec.when)
    except InvalidError:
        return frozenset({"release"})


async def _times(
    tools: RolloutTools, rules: Sequence[Rule], book: RuleBook, zones: frozenset[str], now: datetime
) -> TimesByZone | str:
    """What the calendars say now, or a sentence on why nobody knows."""
    if not any("calendar" in rule.uses for rule in rules):
        return {}
    if tools.times is None:
        return "this process reads no calendars"
    try:
        return {zone: await tools.times.at(book.calendars, zone, now) for zone in sorted(zones | {UTC_ZONE})}
    except InvalidError as error:
        return error.detail


async def _repeated_values(tools: RolloutTools, ask: Ask, rules: Sequence[Rule]) -> Mapping[tuple[str, str], Any]:
    """The values of contents that are given again: they are kept by hash."""
    if ask.contents is None or not any("values" in rule.uses for rule in rules):
        return {}
    keys = [(tenant, again.values_hash) for tenant, again in ask.contents.items()]
    async with tools.open() as uow:
        bodies = await uow.rollouts.contents(keys)
    return {key: json.loads(zlib.decompress(body)) for key, body in bodies.items()}


@dataclass(frozen=True)
class _Reading:
    """All that cases are made of. `times` a text: why nobody knows what calendars say."""

    ask: Ask
    snapshot: Snapshot
    book: RuleBook
    times: TimesByZone | str
    zones: Mapping[str, str]
    values: Mapping[tuple[str, str], Any]
    now: datetime


def _cases(reading: _Reading, offered: Mapping[str, Offer]) -> list[Case]:
    """One case for each target that there is something to give to; what can't be given is left out of the plan anyway."""
    snapshot, request = reading.snapshot, reading.ask.request
    versions = {snapshot.release.row.version} if snapshot.release else set(snapshot.others)
    maker = CaseMaker(
        {version: _release(reading, version) for version in versions},
        rollout_variable(reading.ask.app, request, snapshot.strategy.name),
        {name: spec.selector for name, spec in reading.book.calendars.items()},
        reading.times,
        reading.now,
    )
    found = []
    for row in snapshot.targets:
        offer = offered.get(row.tenant)
        if isinstance(offer, Given):
            values = _values(reading, row.tenant, offer)
            zone = reading.zones.get(row.tenant, UTC_ZONE)
            found.append(maker.case(_tenant(row), labels_seen(row), offer.version, offer.values_hash, values, zone))
    return found


def _values(reading: _Reading, tenant: str, offer: Given) -> Mapping[str, Any] | None:
    """The values a target would get; None: they were given before and are not kept any more."""
    if reading.ask.contents is None:
        return offer.values
    return reading.values.get((tenant, offer.values_hash))


def _release(reading: _Reading, version: str) -> dict[str, Any]:
    snapshot = reading.snapshot
    found = snapshot.release or snapshot.others.get(version)
    evidence = reading.book.attested.get(version, {})
    proven = bool(found and found.row.proven_at)
    return release_variable(found.spec if found else None, evidence, proven=proven, now=reading.now)


def labels_seen(row: TargetRow) -> dict[str, str]:
    """What selectors see of a target."""
    where = {"tier": row.tier, "region": row.region, "cluster": row.cluster, "environment": row.environment}
    return labels_of(row.labels, tenant=row.tenant, **where)


def _tenant(row: TargetRow) -> dict[str, Any]:
    orders = (row.exposure or {}).get("ordersPerHour", 0)
    return tenant_variable(labels_seen(row), row.labels, orders=float(orders), running=row.version or "")
