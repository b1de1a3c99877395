"""Notice periods: which changes an owner must know of so many days before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Literal

from pydantic import Field

from controlplane.domain.gating import gates_of_target
from controlplane.domain.plans import Plan
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire

KIND = "notice"
DatabaseRisk = Literal["reversible", "forward-only", "restore-required"]


class NoticeSpec(Wire):
    """`{"notice": {"period": "P7D", "database": ["forward-only"], "risks": ["tax"]}}`: one of them is enough."""

    period: Duration = Field(gt=timedelta(0), description="So long before its change the owner is told.")
    database: tuple[DatabaseRisk, ...] = Field(
        default=("reversible", "forward-only", "restore-required"),
        description="Changes of the database that ask for notice.",
    )
    risks: tuple[str, ...] = Field(default=(), max_length=20, description="Risks of the release that ask for notice.")


def why_noticed(spec: NoticeSpec, database: str, risks: Collection[str]) -> str:
    """What of a release asks for notice; empty if nothing does."""
    found = sorted(set(spec.risks) & set(risks))
    reasons = [f"it changes the database ({database})"] if database in spec.database else []
    return " and ".join([*reasons, *(["it touches " + ", ".join(found)] if found else [])])


def noticed_in(plan: Plan, database: str, risks: Collection[str]) -> Mapping[str, tuple[str, timedelta]]:
    """Whose owner a plan's gates want told: tenant -> why, and how long before (the longest)."""
    found: dict[str, tuple[str, timedelta]] = {}
    if plan.kind != "deploy":
        return found
    for number, wave in enumerate(plan.waves):
        specs = [NoticeSpec.model_validate(g.spec) for g in gates_of_target(plan, number) if g.kind == KIND]
        wanted = [(why, spec.period) for spec in specs if (why := why_noticed(spec, database, risks))]
        if wanted:
            found |= dict.fromkeys((t.tenant for t in wave.targets), max(wanted, key=lambda one: one[1]))
    return found
