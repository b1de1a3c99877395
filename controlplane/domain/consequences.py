"""What a target's change of state means for its environment, its revision and the budgets. Pure; one table to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controlplane.domain.engine import TargetNow
from controlplane.domain.exposure import EndState
from controlplane.domain.rollouts import TARGET_SETTLED, TargetState

_T = TargetState


@dataclass(frozen=True, slots=True)
class Consequence:
    """`revision_state`: the new state of the revision this target brought. `runs` / `verified`: what its app now runs and
    was last verified (None: unchanged). `give_back`: which reservations return.
    """

    tenant: str
    free_slot: bool = False
    dirty: bool | None = None
    revision_state: Literal["applied", "verified", "failed", "left"] | None = None
    runs: int | None = None
    verified: int | None = None
    give_back: EndState | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing but the target's own row changes."""
        return self == Consequence(self.tenant)


def consequence_of(old: TargetNow, new: TargetNow) -> Consequence:
    """Compare a target before and after. Grants are not seen here: the transaction that grants writes them itself."""
    settled = new.state in TARGET_SETTLED and not new.in_flight
    freed = settled and old.in_flight
    moved = old.state is not new.state
    end: EndState | None = _END.get(new.state) if freed else None
    dirty = new.state is _T.STUCK if freed and new.revision is not None else None
    if not moved:
        lends = new.lent and not old.lent
        return Consequence(new.tenant, free_slot=freed or lends, dirty=dirty, give_back=end)
    match new.state:
        case _T.VERIFY:
            return Consequence(new.tenant, revision_state="applied")
        case _T.VERIFIED:
            return Consequence(
                new.tenant, freed, dirty, revision_state="verified", verified=new.revision, give_back=end
            )
        case _T.FAILED | _T.STUCK:
            return Consequence(new.tenant, freed, dirty, revision_state="failed", give_back=end)
        case _T.ROLLED_BACK:
            return Consequence(
                new.tenant, freed, dirty, revision_state="left", runs=new.back_to, verified=new.back_to, give_back=end
            )
        case _T.PENDING if old.state is _T.STUCK:
            # A retry takes its places anew; what being stuck kept ("changed, not verified") returns first.
            return Consequence(new.tenant, give_back="cancelled")
        case _:
            return Consequence(new.tenant, free_slot=freed, dirty=dirty, give_back=end)


_END: dict[TargetState, EndState] = {
    _T.VERIFIED: "verified",
    _T.ROLLED_BACK: "rolledBack",
    _T.STUCK: "stuck",
    _T.SKIPPED: "skipped",
    _T.CANCELLED: "cancelled",
    _T.DEFERRED: "deferred",
}
