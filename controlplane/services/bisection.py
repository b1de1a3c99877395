"""Finding the row that PostgreSQL refuses: a tick that can't be written is halved until its target is alone."""

from __future__ import annotations

from collections.abc import Collection

from controlplane.domain.engine import Change, CommandSeen, Faulty
from controlplane.domain.gating import GateJudged
from controlplane.ports.engine import DataFaultError


class Bisection:
    """The groups of tenants still to be tried, each in a tick of its own; none: ticks take everybody."""

    def __init__(self) -> None:
        self._groups: list[frozenset[str]] = []

    @property
    def going_on(self) -> bool:
        """Whether some tenants' changes wait for a tick of their own."""
        return bool(self._groups)

    def takes(self, change: Change) -> bool:
        """Whether a change belongs into this tick; a person's words and gates' verdicts always do."""
        return isinstance(change, CommandSeen | GateJudged) or self.has(change.tenant)

    def has(self, tenant: str) -> bool:
        """Whether a tenant's changes belong into this tick."""
        return not self._groups or tenant in self._groups[-1]

    def passed(self) -> None:
        """Note that this tick was written."""
        if self._groups:
            self._groups.pop()

    def refused(self, tenants: Collection[str], error: DataFaultError) -> Faulty | None:
        """Note that a tick with changes of these tenants was refused; returns the one at fault once it is alone.

        Raises the error where halving leads nowhere: nobody in particular, or more tenants than the tick was given.
        """
        group = self._groups.pop() if self._groups else frozenset(tenants)
        if not group or not group.issuperset(tenants):
            raise error
        if len(group) == 1:
            return Faulty(
                next(iter(group)), "data-fault", f"{error}; Seawall's own rows about this target need a person"
            )
        ordered = sorted(group)
        half = len(ordered) // 2
        self._groups += [frozenset(ordered[half:]), frozenset(ordered[:half])]
        return None
