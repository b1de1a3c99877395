"""What a rollout's driver knows: frozen values that `decide` reads and a decision replaces.

A `Memory` is loaded once when a driver takes over and changes only after a commit is known. Its targets and waves are
frozen; a `Decision` brings the ones that changed. Tallies are kept up to date change by change, so that a pass costs
what changed and not the number of targets; `tally_of` counts afresh and is the oracle in tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from controlplane.domain.counts import Counts
from controlplane.domain.decide_wave import WaveTally
from controlplane.domain.disturbance import Excuse
from controlplane.domain.gating import GateJudged, GateKey, GateNow
from controlplane.domain.health import Expected, Judgement
from controlplane.domain.plans import Plan
from controlplane.domain.rollouts import TARGET_FORWARD, RolloutState, TargetState, WaveState
from controlplane.domain.targets import DatabaseChange
from controlplane.domain.windows import Attached, Closed

CATCHES_UP = ("window", "tenant-deferred")
"""Codes of deferrals that end by themselves: whoever has one takes its turn again when its time comes."""

type Phase = Literal["", "migrate", "apply", "back", "prune"]
"""The external work in a target's hands: `prune` after it was verified, `back` on its way back."""

type Wants = Literal["", "apply", "back", "prune"]
"""The next external work of a target that holds its slot (or, to go back, takes it again): not issued yet."""

type Abort = Literal["", "finish", "rollBack", "superseded"]


@dataclass(frozen=True, slots=True)
class TargetNow:
    """One target. `failed`: it counts against the release (quota, abort and walls moving under us do not).

    `progress`: the furthest that its pods have come since its apply; `progressed_at`: when they came that far. Kept in memory alone: a
    successor takes what it sees first for progress.
    `lent`: it has left the environment's slot to the way back of a rollout that is to blame for its illness.
    """

    tenant: str
    environment: str
    namespace: str
    cluster: str
    region: str
    wave: int
    position: int
    content: str
    base_revision: int
    way_back: Literal["reapply", "restore", "none"]
    back_to: int
    state: TargetState
    since: datetime
    code: str = ""
    reason: str = ""
    attempt: int = 1
    epoch: int = 0
    revision: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failed: bool = False
    phase: Phase = ""
    wants: Wants = ""
    prunes: bool = False
    expected: tuple[Expected, ...] = ()
    judgement: Judgement | None = None
    progress: int = 0
    progressed_at: datetime | None = None
    soak_since: datetime | None = None
    samples: int = 0
    sampled_at: datetime | None = None
    ill_since: datetime | None = None
    retry_at: datetime | None = None
    waiting_since: datetime | None = None
    yields_to: str = ""
    waits_until: datetime | None = None
    excused_since: datetime | None = None
    excused_at: datetime | None = None
    lent: bool = False
    orders_per_hour: Decimal = Decimal(0)
    money_at_risk: Decimal = Decimal(0)
    brand: str = ""
    region_pair: str = ""

    @property
    def in_flight(self) -> bool:
        """Whether somebody must still do or see something in the cluster before this target is settled."""
        return (
            self.phase != ""
            or self.wants != ""
            or self.state in TARGET_FORWARD
            or self.state
            in (
                TargetState.FAILED,
                TargetState.ROLLING_BACK,
            )
        )


type Category = Literal["pending", "moving", "verified", "failed", "left"]


def category(target: TargetNow) -> Category:
    """Where a target counts in its wave's tally."""
    if target.state is TargetState.PENDING:
        return "pending"
    if target.failed:
        return "failed"
    if target.state in TARGET_FORWARD:
        return "moving"
    return "verified" if target.state is TargetState.VERIFIED else "left"


@dataclass(frozen=True, slots=True)
class WaveNow:
    """One wave and its tally; `order` are its targets' tenants in the order they start.

    Two memos: nobody before `cursor` is pending; whoever is pending before `scan` waits for something that will be heard
    (a gate's verdict, the end of a freeze, a window), so that a pass doesn't go over all of them again.
    """

    index: int
    name: str
    order: tuple[str, ...]
    state: WaveState = WaveState.PENDING
    since: datetime | None = None
    started_at: datetime | None = None
    pending: int = 0
    moving: int = 0
    verified: int = 0
    failed: int = 0
    left: int = 0
    in_flight: int = 0
    ill: int = 0
    cursor: int = 0
    scan: int = 0
    code: str = ""
    reason: str = ""
    waiting_since: datetime | None = None
    waits_until: datetime | None = None

    @property
    def tally(self) -> WaveTally:
        """The numbers a wave is judged by."""
        return WaveTally(len(self.order), self.pending, self.moving, self.verified, self.failed, self.left)

    def exchange(self, old: TargetNow, new: TargetNow) -> WaveNow:
        """The wave after one of its targets changed."""
        before, after = category(old), category(new)
        return replace(
            self,
            pending=self.pending + (after == "pending") - (before == "pending"),
            moving=self.moving + (after == "moving") - (before == "moving"),
            verified=self.verified + (after == "verified") - (before == "verified"),
            failed=self.failed + (after == "failed") - (before == "failed"),
            left=self.left + (after == "left") - (before == "left"),
            in_flight=self.in_flight + new.in_flight - old.in_flight,
            ill=self.ill + (new.ill_since is not None) - (old.ill_since is not None),
            cursor=min(self.cursor, new.position) if new.state is TargetState.PENDING else self.cursor,
            scan=min(self.scan, new.position) if new.state is TargetState.PENDING else self.scan,
        )


def tally_of(wave: WaveNow, targets: Iterable[TargetNow]) -> WaveNow:
    """Count a wave afresh from its targets."""
    mine = list(targets)
    counts = Counter(category(target) for target in mine)
    return replace(
        wave,
        pending=counts["pending"],
        moving=counts["moving"],
        verified=counts["verified"],
        failed=counts["failed"],
        left=counts["left"],
        in_flight=sum(t.in_flight for t in mine),
        ill=sum(t.ill_since is not None for t in mine),
        cursor=0,
        scan=0,
    )


@dataclass(frozen=True, slots=True)
class RolloutNow:
    """The rollout's own row. `halted`: why no wave may start any more; `abort`: what a person wants done with it."""

    state: RolloutState
    since: datetime
    outcome: str = ""
    reason: str = ""
    halted: str = ""
    abort: Abort = ""
    hold: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Frozen:
    """Freezes in force for this rollout: `all_reason` if everything is frozen, else the tenants that are.

    `version` is the fleet budget row's when they were read; `until`: when the first of them ends by itself; `passes`: ids of those that
    an emergency goes past, which are not among them. `upgrading`: clusters that somebody says are under upgrade; `never_upgrading`:
    those whose nodes say nothing about it.
    """

    all_reason: str = ""
    tenants: frozenset[str] = frozenset()
    version: int = -1
    until: datetime | None = None
    passes: frozenset[str] = frozenset()
    upgrading: frozenset[str] = frozenset()
    never_upgrading: frozenset[str] = frozenset()


@dataclass(slots=True)
class Memory:
    """All a driver knows of its rollout. Only `Draft.adopt` changes it, after a known commit.

    `wanting`: tenants whose next work is not issued yet; `touched`: waves to judge again at the next decision; `at_gates`:
    pending targets that stand before gates of their own, with what those said; `asking`: whether one of them could start, so
    that asking makes sense; `windows`: the calendars of its tenants, `closed`: what they forbid now, looked at again when one of them
    opens or closes; `scanned`, `caught_up`: freezes and windows as they were when the waves' `scan` was noted, and when the catch-up
    list was last gone over; `catch_up`: who was deferred for a while; `database`: what the release does
    to databases.
    """

    id: str
    plan: Plan
    rollout: RolloutNow
    waves: list[WaveNow]
    targets: dict[str, TargetNow]
    frozen: Frozen = field(default_factory=Frozen)
    wanting: dict[str, None] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    gates: dict[GateKey, GateNow] = field(default_factory=dict)
    at_gates: dict[str, tuple[GateNow, ...]] = field(default_factory=dict)
    asking: bool = False
    windows: Attached = field(default_factory=Attached)
    closed: Closed = field(default_factory=Closed)
    scanned: tuple[Frozen, Closed] | None = None
    caught_up: Closed | None = None
    catch_up: dict[str, None] = field(default_factory=dict)
    change_ref: str = ""
    database: DatabaseChange = "none"
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        """Count the targets once; from then on their changes are taken in."""
        self.counts = Counts(self.targets.values())

    @property
    def in_flight(self) -> int:
        """Targets in flight, all waves."""
        return sum(wave.in_flight for wave in self.waves)


@dataclass(frozen=True, slots=True)
class EffectDone:
    """What came of a target's external work in `phase`.

    `ok`; `failed`: the release's fault; `quota`, `gone`: the world's. `expected` are the workloads to judge from now on,
    `inventory` what the revision has in the cluster: (apiVersion, kind, name, uid).
    """

    tenant: str
    phase: Phase
    outcome: Literal["ok", "failed", "quota", "gone"]
    code: str = ""
    reason: str = ""
    expected: tuple[Expected, ...] = ()
    inventory: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at a target's workloads in the cache. `live`: the watch is proven live, so it counts as a sample. `excuse`: why ill
    health, if that is what it saw, is not the release's doing.
    """

    tenant: str
    judgement: Judgement
    live: bool
    excuse: Excuse | None = None


@dataclass(frozen=True, slots=True)
class CommandSeen:
    """A person's word: `pause resume abort retry`, another rollout's: `supersede preempt`, or that of a vote on blame: `halt`."""

    seq: int
    command: str
    body: dict[str, object]
    actor: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A sentence from the cluster on why a target is not healthy."""

    tenant: str
    reason: str


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The timer of a target that has not started rang: it may have waited for its window for too long."""

    tenant: str


@dataclass(frozen=True, slots=True)
class Faulty:
    """What Seawall has stored of a target can't be read or written: no fault of the release, a person must look."""

    tenant: str
    code: str
    reason: str


type Change = EffectDone | Looked | CommandSeen | Explained | Faulty | GateJudged | TimeUp


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the rollout's history: `change` completes `dev.seawall.rollout.<change>.v1`."""

    change: str
    tenant: str | None
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Decision:
    """What changed and is to be written in one transaction. `targets`: tenant -> (before, after)."""

    targets: dict[str, tuple[TargetNow, TargetNow]]
    waves: dict[int, WaveNow]
    rollout: RolloutNow | None
    events: tuple[Event, ...]
    gates: tuple[tuple[GateNow, GateJudged], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.targets or self.waves or self.rollout or self.events or self.gates)
