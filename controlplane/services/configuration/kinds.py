"""The kinds of configuration. A new kind is a model in `domain` and a line in `KINDS`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.domain import rules
from controlplane.domain.apps import AppSpec
from controlplane.domain.calendars import CalendarSpec
from controlplane.domain.emergencies import WINDOW, Criterion
from controlplane.domain.endpoints import Endpoint
from controlplane.domain.errors import ConflictError, FieldError, InvalidError
from controlplane.domain.fleet_limits import FleetLimits
from controlplane.domain.people import Person
from controlplane.domain.rules import RuleSpec
from controlplane.domain.sources import Source
from controlplane.domain.strategies import Strategy, check_strategy
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.triggers import Trigger
from controlplane.domain.trust import TrustSpec
from controlplane.domain.webhooks import Webhook
from controlplane.domain.wire import Wire
from controlplane.gates import GATES, check_gate, check_gates
from controlplane.ports.calendars import CalendarSyntax
from controlplane.ports.expressions import Expressions
from controlplane.ports.signatures import Signatures
from controlplane.ports.uow import UnitOfWork
from controlplane.services.limits import apply_limits


@dataclass(frozen=True)
class Checkers:
    """What checks need besides the model: languages, and the kinds of gate this installation has."""

    expressions: Expressions
    calendars: CalendarSyntax
    signatures: Signatures
    gates: frozenset[str] = frozenset(GATES)


def _nothing(_spec: Wire, _checkers: Checkers) -> None:
    """The model says it all."""


def _replaces_anything(_current: Mapping[str, Any], _spec: Wire) -> None:
    """Any spec of a kind replaces any other."""


async def _only_stored(_uow: UnitOfWork, _name: str, _spec: Wire | None) -> None:
    """Whoever needs it reads it."""


@dataclass(frozen=True)
class Kind[S: Wire]:
    """A kind: the plural in its paths, one of it, its model, and what the model can't check (raises InvalidError).

    `replaces` refuses what may not take the place of the spec in force;
    `tells_drivers`: once a change commits, no driver issues another forward step under the version before.
    `apply` puts a spec into effect in the transaction that stores it (None: it was deleted), where reading it is not enough.
    """

    plural: str
    singular: str
    model: type[S]
    check: Callable[[S, Checkers], None] = _nothing
    tells_drivers: bool = False
    replaces: Callable[[Mapping[str, Any], S], None] = _replaces_anything
    apply: Callable[[UnitOfWork, str, S | None], Awaitable[None]] = _only_stored


def _strategy(spec: Strategy, checkers: Checkers) -> None:
    check_strategy(spec, gates=checkers.gates)
    check_gates(spec)


def _calendar(spec: CalendarSpec, checkers: Checkers) -> None:
    checkers.calendars.check(spec.ics, "/ics")


def _calendar_replaces(current: Mapping[str, Any], spec: CalendarSpec) -> None:
    """A read-only calendar is its source's: raises ConflictError `read-only-calendar` for anybody else."""
    if current.get("readOnly") and current.get("source") != spec.source:
        raise ConflictError(
            f"This calendar is read-only: only its source, {current.get('source')}, replaces it. Put yours under another name.",
            code="read-only-calendar",
        )


def check_rule(spec: RuleSpec, checkers: Checkers, prefix: str = "") -> None:
    """Check what a rule's model can't: its expression compiles over known variables, and the gate it adds exists.

    Raises InvalidError: `expression-invalid`, `gate-not-available`, `invalid-strategy`.
    """
    checkers.expressions.check(spec.when, rules.VARIABLES, f"{prefix}/when")
    named = [*(spec.then.gate or {}), *(spec.then.require.gates if spec.then.require else ())]
    unknown = sorted(set(named) - checkers.gates)
    if unknown:
        where = f"{prefix}/then/{'gate' if spec.then.gate else 'require/gates'}"
        detail = f"Gate kind {unknown[0]!r} is not available here. Available: {', '.join(sorted(checkers.gates))}."
        raise InvalidError(detail, code="gate-not-available", errors=[FieldError(where, detail)])
    if spec.then.gate:
        check_gate(spec.then.gate, (*filter(None, prefix.split("/")), "then", "gate"))


def _trigger(spec: Trigger, checkers: Checkers) -> None:
    checkers.expressions.check(spec.filter, ("event",), "/filter")


def _trust(spec: TrustSpec, checkers: Checkers) -> None:
    checkers.signatures.check_trust(spec)


def _webhook(spec: Webhook, checkers: Checkers) -> None:
    checkers.expressions.check(spec.filter, ("event",), "/filter")


def _criterion(spec: Criterion, checkers: Checkers) -> None:
    known = {*checkers.gates, WINDOW}
    found = [
        FieldError(f"/skip/{index}", f"{kind!r} is no kind of gate here; there are {', '.join(sorted(known))}")
        for index, kind in enumerate(spec.skip)
        if kind not in known
    ]
    if found:
        raise InvalidError(f"The criterion can't be used: {found[0].detail}.", code="invalid-criterion", errors=found)


KINDS = (
    Kind("apps", "app", AppSpec),
    Kind("tiers", "tier", TierSpec),
    Kind("clusters", "cluster", ClusterSpec, tells_drivers=True),
    Kind("calendars", "calendar", CalendarSpec, _calendar, tells_drivers=True, replaces=_calendar_replaces),
    Kind("strategies", "strategy", Strategy, _strategy),
    Kind("triggers", "trigger", Trigger, _trigger),
    Kind("rules", "rule", RuleSpec, check_rule),
    Kind("webhooks", "webhook", Webhook, _webhook),
    Kind("sources", "source", Source),
    Kind("people", "person", Person),
    Kind("endpoints", "endpoint", Endpoint),
    Kind("trusts", "trust", TrustSpec, _trust),
    Kind("criteria", "criterion", Criterion, _criterion),
    Kind("limits", "limit", FleetLimits, apply=apply_limits),
)
