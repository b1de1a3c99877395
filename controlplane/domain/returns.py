"""Where a rollback goes: pure choice among a tenant's past revisions, and what it would undo on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from controlplane.domain.plans import WayBackKind
from controlplane.domain.targets import DatabaseChange, TargetProblem

_WORST: tuple[DatabaseChange, ...] = ("none", "reversible", "restore-required", "forward-only")


@dataclass(frozen=True, slots=True)
class PastRevision:
    """One revision of one tenant's app. `change` is the database change of its release, `none` if that is unknown."""

    tenant: str
    revision: int
    version: str
    content: str
    values_hash: str
    values: dict[str, Any]
    state: str
    change: DatabaseChange


@dataclass(frozen=True, slots=True)
class Return:
    """Where to go back to (None: nowhere), the worst database change on the way, and why it is refused, if it is."""

    to: PastRevision | None = None
    crosses: DatabaseChange = "none"
    problem: TargetProblem | None = None


def way_back_after(
    planned: WayBackKind, given_up: int, verified: int, database: DatabaseChange, *, rollback: bool = False
) -> WayBackKind:
    """How a target goes back whose base moved as expected (it was queued): to `verified`, now its newest verified revision (0: none).

    As the planner says it (`exclusions.way_back_of`). `given_up`: the revision that a way back `none` gave up in the plan; what was given
    up with a reason stays given up.
    """
    if rollback or not verified or database == "forward-only" or (planned == "none" and given_up):
        return "none"
    return "restore" if database == "restore-required" else "reapply"


def choose_return(
    past: Sequence[PastRevision], to: Literal["lastVerified"] | int | None, undo: str | None = None
) -> Return:
    """Choose the revision to go back to. `past` starts with the current revision and goes backwards.

    `undo` names the release whose change is to be undone: if the tenant's newest change is another one, going back would
    undo that too, which is refused. By default the newest verified revision before the current one; by number, exactly
    that one, if it is verified.
    """
    if not past:
        return Return()
    current, earlier = past[0], past[1:]
    if undo is not None and current.version != undo:
        return Return(None, "none", _other_change(current, f"it runs {current.version}, not {undo}"))
    chosen = next((r for r in earlier if r.state == "verified" and to in (None, "lastVerified", r.revision)), None)
    if chosen is None:
        return Return(problem=_not_verified(earlier, to))
    if undo is not None and chosen.version == undo:
        why = f"revision {current.revision} changed {undo} again after it was rolled out"
        return Return(None, "none", _other_change(current, why))
    crossed = [r.change for r in past if r.revision > chosen.revision]
    return Return(chosen, max(crossed, key=_WORST.index))


def _other_change(current: PastRevision, why: str) -> TargetProblem:
    detail = f"Going back would undo another change: {why}. Name the change you mean, or leave the release out."
    return TargetProblem("would-undo-another-change", detail)


def _not_verified(earlier: Sequence[PastRevision], to: Literal["lastVerified"] | int | None) -> TargetProblem | None:
    found = next((r for r in earlier if r.revision == to), None)
    if found is None:
        return None
    return TargetProblem("not-verified", f"Revision {to} was never verified (it is {found.state}).")
