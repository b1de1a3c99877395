"""Trying a risk rule on a release and tenants, as `seawall rule test` does. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import AwareDatetime, Field

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import Name
from controlplane.domain.plan_rules import effect_of
from controlplane.domain.requests import Ask, ReleaseRef, RolloutRequest
from controlplane.domain.rules import RuleSpec, RuleThen
from controlplane.domain.wire import Wire
from controlplane.ports.expressions import Expressions
from controlplane.services.rollouts.builtin import TENANT_ROLLBACK
from controlplane.services.rollouts.content import Given
from controlplane.services.rollouts.facts import offers
from controlplane.services.rollouts.ruling import read_book, rule
from controlplane.services.rollouts.snapshot import take_snapshot
from controlplane.services.rollouts.tools import RolloutTools

SHOWN = 200


class RuleTestRequest(Wire):
    """Which rule (inline, or one that is stored), on what."""

    rule: RuleSpec
    release: ReleaseRef
    environment: Name = "production"
    tenant: Name | None = Field(default=None, description="Only this one; else all that the selector matches.")
    selector: str = Field(default="", max_length=2000)
    strategy: Name = Field(default="tried", description="What `rollout.strategy` is.")
    at: AwareDatetime | None = Field(default=None, description="As if it were then (calendars, ages); none: now.")


class RuleTestLine(Wire):
    """One tenant. `applies` None: the rule can't be evaluated for it, and a rollout would leave it out; `why` says what is wrong."""

    tenant: str
    applies: bool | None
    why: str = ""


class RuleTestResult(Wire):
    """What the rule says, and what would follow."""

    uses: tuple[str, ...]
    effect: str
    then: RuleThen
    reason: str
    applies: int
    unclear: int
    tenants: int
    lines: tuple[RuleTestLine, ...]


async def try_rule(tools: RolloutTools, expressions: Expressions, asked: RuleTestRequest) -> RuleTestResult:
    """Evaluate a rule as planning would. Raises InvalidError: `unknown-release`, `invalid-selector`, `selector-matches-nothing`."""
    request = RolloutRequest(
        release=asked.release, environment=asked.environment, selector=asked.selector, strategy=asked.strategy
    )
    tenants = frozenset({asked.tenant}) if asked.tenant else None
    ask = Ask(request, tenants=tenants, built_in=_named(asked.strategy))
    specs = {"tried": (1, asked.rule)}
    async with tools.open() as uow:
        snapshot = await take_snapshot(uow, ask, tools.gates)
        book = await read_book(uow, ask, snapshot, specs)
        now = asked.at or uow.now
    if not snapshot.targets:
        raise InvalidError(
            f"No tenant with an environment {asked.environment!r} is selected, so there is nothing to try the rule on.",
            code="selector-matches-nothing",
            errors=[FieldError("/tenant" if asked.tenant else "/selector", "matches no tenant")],
        )
    offered = await offers(ask, snapshot)
    ruling = await rule(tools, ask, snapshot, offered, book, now)
    true_of = frozenset(tenant for hit in ruling.hits for tenant in hit.tenants)
    unclear: Mapping[str, Any] = {tenant: why for tenant, (_, why) in ruling.unclear.items()}
    lines = _lines([row.tenant for row in snapshot.targets], true_of, unclear, offered)
    return RuleTestResult(
        uses=tuple(sorted(expressions.uses(asked.rule.when))),
        effect=effect_of(asked.rule.then),
        then=asked.rule.then,
        reason=asked.rule.reason,
        applies=len(true_of),
        unclear=sum(line.applies is None for line in lines),
        tenants=len(lines),
        lines=tuple(lines[:SHOWN]),
    )


def _lines(
    tenants: Sequence[str], true_of: frozenset[str], unclear: Mapping[str, str], offered: Mapping[str, Any]
) -> list[RuleTestLine]:
    """Those it applies to first, then those it is unclear for."""
    found = []
    for tenant in tenants:
        offer = offered.get(tenant)
        if tenant in unclear:
            found.append(RuleTestLine(tenant=tenant, applies=None, why=unclear[tenant]))
        elif not isinstance(offer, Given):
            why = getattr(offer, "detail", "there is nothing to give it")
            found.append(RuleTestLine(tenant=tenant, applies=None, why=f"it can't be given this release: {why}"))
        else:
            found.append(RuleTestLine(tenant=tenant, applies=tenant in true_of))
    order = {True: 0, None: 1, False: 2}
    return sorted(found, key=lambda line: (order[line.applies], line.tenant))


def _named(name: str) -> Any:
    """Some strategy under the name that the rule is to see: its waves don't matter here."""
    return type(TENANT_ROLLBACK)(name, TENANT_ROLLBACK.strategy)
