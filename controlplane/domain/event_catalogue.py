"""Every event that Seawall sends: `dev.seawall.<thing>.<change>.v1`. A change that is recorded and not listed here fails a test.

`data` names the fields a reader may rely on; others may come. A change of meaning gets `.v2` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TYPE_PREFIX: Final = "dev.seawall."


@dataclass(frozen=True)
class EventType:
    """One type: what it says, and the fields of its data."""

    thing: str
    change: str
    says: str
    data: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Its CloudEvents type."""
        return f"{TYPE_PREFIX}{self.thing}.{self.change}.v1"


def _of(thing: str, changes: Mapping[str, tuple[str, tuple[str, ...]]]) -> tuple[EventType, ...]:
    return tuple(EventType(thing, change, says, data) for change, (says, data) in changes.items())


_ENDED = ("outcome", "reason")
_TARGET = ("state", "code", "reason", "wave")
_VOTE = ("word", "group", "person", "waves", "planHash", "changeRef", "reason")
_ROLLOUT = _of(
    "rollout",
    {
        "drafted": (
            "A plan was made; a person starts it.",
            ("state", "release", "kind", "targets", "planHash", "requestedBy", "origin"),
        ),
        "planned": ("It was started: workers take it up.", ("state",)),
        "started": ("A driver began with the first wave.", ("targets",)),
        "paused": ("A person paused it: nothing is dispatched.", ("by", "reason")),
        "resumed": ("A person let it go on.", ("by",)),
        "aborting": ("A person ends it; what is in flight finishes or goes back.", ("by", "inFlight", "reason")),
        "superseded": ("Another rollout takes its place.", ("by",)),
        "preempted": (
            "An emergency goes before it for some tenants: now, or when they come to a place where they may yield.",
            ("by", "rollout", "tenants"),
        ),
        "retried": (
            "Failed or deferred targets are tried again; `acceptNoWayBack` is the word of who let them, where one was given.",
            ("by", "waves", "reason", "acceptNoWayBack"),
        ),
        "succeeded": ("It ended as it should.", _ENDED),
        "failed": ("It ended without success; the reason says why.", _ENDED),
        "aborted": ("It ended because a person wanted it to.", ("reason",)),
        "wave-gating": ("A wave waits for the gates before it.", ("wave",)),
        "gate-asked": (
            "A gate asks somebody: nothing goes on before they answer.",
            ("wave", "gate", "who", "reason", "changeRef", "planHash"),
        ),
        "gate-answered": (
            "An endpoint that was asked answered.",
            ("endpoint", "verdict", "reason", "by", "planHash"),
        ),
        "vote-cast": ("A person approved or rejected.", _VOTE),
        "vote-withdrawn": ("A vote was taken back before its gate decided.", _VOTE),
        "gate-failed": ("A gate said no.", ("wave", "gate", "reason")),
        "wave-started": ("A wave began.", ("wave", "targets")),
        "wave-passed": ("A wave was judged good.", ("wave", "reason")),
        "wave-failed": ("A wave was judged bad; nothing forward follows.", ("wave", "code", "reason")),
        "target-started": ("A tenant's change began.", ("revision", "attempt")),
        "target-verified": ("A tenant runs the new revision, verified.", _TARGET),
        "target-disturbed": (
            "A tenant fell ill through no fault of the release; it holds until that has passed.",
            ("code", "reason"),
        ),
        "target-failed": ("A tenant's change failed; its way back is chosen next.", _TARGET),
        "target-rolling-back": ("A tenant goes back.", ("code", "reason")),
        "target-rolled-back": ("A tenant is back where it was.", _TARGET),
        "target-stuck": ("A tenant needs a person: neither forward nor back worked.", _TARGET),
        "target-skipped": ("A tenant is left out, for the reason given.", _TARGET),
        "target-deferred": ("A tenant waits: later, not now.", _TARGET),
        "target-caught-up": (
            "A tenant whose window opened after its wave stopped waiting takes its turn again.",
            _TARGET,
        ),
        "way-back-refused": ("The way back of a tenant is not allowed.", ("code", "reason")),
        "blamed": (
            "A vote says that it made tenants ill, of itself or of other rollouts; `act` says whether it was stopped for that.",
            ("act", "reason", "why", "verdict", "id", "tenants", "votes"),
        ),
        "acquitted": (
            "Tenants of it are ill, and a vote blames another change: `by`.",
            ("by", "what", "act", "reason", "why", "id", "tenants"),
        ),
        "suspected": (
            "Tenants of it are ill, and a vote can't tell whether it or another change did it; nobody is stopped.",
            ("among", "verdict", "reason", "why", "id"),
        ),
        "release-held": ("Its release is held: no trigger starts it until a person lifts it.", ("release", "reason")),
    },
)
_OPERATION_KINDS = ("onboard", "batchOnboard", "update", "suspend", "resume", "offboard", "export", "repair")
_TENANT = _of(
    "tenant",
    {
        "onboardingAccepted": ("A tenant's name is reserved; its walls are being built.", ("operation",)),
        "changeAccepted": ("A change of its registration was accepted.", ("fields",)),
        "changed": ("A change of its registration was carried out.", ("operation",)),
        "activated": ("It takes part in rollouts.", ("operation",)),
        "observed": ("Its namespaces were read; nothing was written.", ("operation",)),
        "suspended": ("It is left out of rollouts until it is resumed.", ("operation",)),
        "offboarded": ("It is gone from the fleet.", ("operation",)),
        "drifted": (
            "Somebody else changed or deleted what Seawall wrote; `policy` says what follows.",
            ("environment", "policy", "objects", "by", "reason"),
        ),
        "driftRepaired": ("What had drifted is as Seawall wrote it.", ("environment", "operation", "objects")),
        "fellIll": (
            "It is ill while several changes overlap; `reason` names the likely cause.",
            ("cause", "verdict", "reason", "id"),
        ),
        "driftEnded": ("What had drifted is as it should be again, without a repair.", ("environment",)),
        "restoreDrilled": (
            "A backup of it was restored to see whether it can be; `result` is succeeded or failed.",
            ("environment", "drill", "result", "backup", "startedAt", "endedAt"),
        ),
        "registryDiffered": (
            "After a failover its cluster said other than the registry; `says` is what that means.",
            ("timeline", "cluster", "kind", "says", "app", "environment", "sealEpoch", "registryEpoch", "revision"),
        ),
        **{f"{k}Accepted": (f"The operation {k} was accepted.", ("operation",)) for k in _OPERATION_KINDS},
        **{f"{k}Failed": (f"The operation {k} failed for it.", ("operation", "reason")) for k in _OPERATION_KINDS},
    },
)
_OPERATION = _of(
    "operation",
    {
        "succeeded": ("An operation ended as it should.", ("succeeded", "failed")),
        "failed": ("An operation ended, and some of it did not work.", ("succeeded", "failed")),
        "cancelled": ("An operation was called off.", ()),
    },
)
_RELEASE = _of(
    "release",
    {
        "registered": ("A release was registered.", ("app", "digest")),
        "lifted": ("A person ended the hold of a release.", ("reason",)),
        "attested": ("Something was attested about a release.", ("kind", "passed")),
    },
)
_FREEZE = _of(
    "freeze",
    {
        "created": ("Nothing forward starts on what it selects.", ("selector", "reason")),
        "lifted": ("A freeze ended.", ("selector",)),
    },
)
_NOTICE = _of(
    "notice",
    {
        "given": (
            "A tenant's owner is told of a release before it comes.",
            ("environment", "release", "why", "earliest", "rollout"),
        )
    },
)
_AUDIT = _of(
    "audit",
    {
        "recorded": (
            "A row of the audit trail was sealed: who did what to what. `sequence` is its seal, `hash` chains it.",
            ("id", "actor", "action", "subject", "detail", "traceId", "hash"),
        )
    },
)
_EMERGENCY = _of(
    "emergency",
    {
        "started": (
            "A change took the emergency lane; somebody else looks at it afterwards.",
            ("criterion", "reason", "app", "targets", "leftOut", "person", "changeRef", "planHash"),
        ),
        "overdue": ("Nobody looked at one in time.", ("criterion", "app", "person", "reviewBy")),
        "reviewed": ("Somebody looked at one.", ("finding", "note", "person", "criterion", "app")),
    },
)
_BREAKER = _of(
    "breaker",
    {
        "opened": ("Too much is ill: nothing forward starts on its budget.", ("code", "reason")),
        "halfOpened": ("One target is let through, to try.", ("reason", "by")),
        "closed": ("Forward work may start again.", ("reason", "by")),
    },
)
CONFIGURATION: Final = (
    "app",
    "tier",
    "cluster",
    "calendar",
    "strategy",
    "trigger",
    "rule",
    "webhook",
    "source",
    "person",
    "endpoint",
    "trust",
    "criterion",
    "limit",
)
_CONFIGURATION = tuple(
    EventType(kind, change, f"A {kind} was {change}.", ("version",))
    for kind in CONFIGURATION
    for change in ("created", "changed", "deleted")
)

_CLUSTER = _of(
    "cluster",
    {
        "compared": (
            "After a failover its seals were compared with the registry; it is dispatched to again.",
            ("timeline", "environments", "differences", "namespacesOfNobody"),
        )
    },
)

_UPGRADE = _of(
    "upgrade",
    {
        "began": ("A cluster's nodes are being replaced, as its workers see it.", ("reason",)),
        "ended": ("They are alike and none is cordoned any more.", ()),
    },
)

CATALOGUE: Final[tuple[EventType, ...]] = (
    *_ROLLOUT,
    *_TENANT,
    *_OPERATION,
    *_RELEASE,
    *_FREEZE,
    *_EMERGENCY,
    *_NOTICE,
    *_AUDIT,
    *_BREAKER,
    *_CONFIGURATION,
    *_CLUSTER,
    *_UPGRADE,
)
KNOWN: Final[frozenset[tuple[str, str]]] = frozenset((e.thing, e.change) for e in CATALOGUE)
