"""What the engine counts. Calls are cheap, made once per transaction or effect, and every label comes from a closed set."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

type Count = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Tick:
    """One committed driver transaction. `seconds`: from asking for a connection until the commit was known;
    `moved`: targets by the state they came to; `issued`: ledger rows by verb; `observed`: ledger rows by outcome.
    """

    seconds: float
    moved: Count = field(default_factory=dict)
    issued: Count = field(default_factory=dict)
    observed: Count = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EffectEnd:
    """One phase of one target as it came back. `results`: (verb, outcome) of each of its steps."""

    phase: str
    outcome: str
    seconds: float
    results: tuple[tuple[str, str], ...] = ()


class Meters(Protocol):
    """Counters and histograms of one worker process."""

    def ticked(self, tick: Tick) -> None:
        """A driver transaction was committed."""
        ...

    def effect_ended(self, end: EffectEnd) -> None:
        """A phase came back from its cluster, or (`fenced`, `lost`, `error`) ended without an outcome."""
        ...

    def driving(self, kind: str) -> AbstractContextManager[object]:
        """Count a subject as driven while the context is open."""
        ...

    def taken_over(self) -> None:
        """A rollout was taken up with work that another driver had begun."""
        ...

    def lease_lost(self, kind: str) -> None:
        """A driver found that its lease had run out or was taken."""
        ...

    def refused(self, why: str, scope: str) -> None:
        """A candidate found no place. `why`: `full closed tripped never`; `scope`: the kind of budget, never its name."""
        ...

    def breaker_opened(self, code: str) -> None:
        """A breaker opened; `code` is its reason's."""
        ...

    def breakers(self, states: Count) -> None:
        """How many breakers are in each state but closed: `open halfOpen probing`, looked at once a second."""
        ...

    def drifted(self, part: str, policy: str) -> None:
        """Drift was found. `part`: `walls` or `app`; `policy`: what follows."""
        ...

    def differed(self, kind: str) -> None:
        """After a failover a cluster differed from the registry."""
        ...

    def swept(self, kind: str, late: float) -> None:
        """The sweep found a subject that was due and not driven, `late` seconds after it was due."""
        ...


class Silent:
    """Counts nothing: where nobody asks, as in most tests."""

    def ticked(self, tick: Tick) -> None:
        """See `Meters`."""

    def effect_ended(self, end: EffectEnd) -> None:
        """See `Meters`."""

    def driving(self, _kind: str) -> AbstractContextManager[object]:
        """See `Meters`."""
        return nullcontext()

    def taken_over(self) -> None:
        """See `Meters`."""

    def lease_lost(self, kind: str) -> None:
        """See `Meters`."""

    def refused(self, why: str, scope: str) -> None:
        """See `Meters`."""

    def drifted(self, part: str, policy: str) -> None:
        """See `Meters`."""

    def differed(self, kind: str) -> None:
        """See `Meters`."""

    def breaker_opened(self, code: str) -> None:
        """See `Meters`."""

    def breakers(self, states: Count) -> None:
        """See `Meters`."""

    def swept(self, kind: str, late: float) -> None:
        """See `Meters`."""


SILENT: Meters = Silent()
