"""Metrics of the engine. Labels are bounded: kinds, verbs, phases, outcomes, states; never a tenant, a rollout or a release."""

from __future__ import annotations

from contextlib import AbstractContextManager

from prometheus_client import Counter, Gauge, Histogram

from controlplane.ports.meters import Count, EffectEnd, Tick

_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

DRIVING = Gauge("seawall_driving", "Rollouts and operations that this process drives now.", ["kind"])
TICK_SECONDS = Histogram(
    "seawall_tick_seconds",
    "One driver transaction, from asking for a connection until its commit is known.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
TICK_TARGETS = Histogram(
    "seawall_tick_targets", "Targets whose state one driver transaction wrote (the group commit).", buckets=_BATCH
)
TICK_STEPS = Histogram(
    "seawall_tick_steps", "Ledger rows one driver transaction wrote as ISSUED or OBSERVED.", buckets=_BATCH
)
TARGETS = Counter("seawall_targets_total", "Targets by the state they came to.", ["state"])
ISSUED = Counter("seawall_steps_issued_total", "Ledger rows committed as ISSUED.", ["verb"])
OBSERVED = Counter("seawall_steps_observed_total", "Ledger rows committed as OBSERVED.", ["outcome"])
STEPS = Counter("seawall_steps_total", "Steps that came back from a cluster.", ["verb", "outcome"])
EFFECT_SECONDS = Histogram(
    "seawall_effect_seconds",
    "One phase of one target in its cluster, from its first call to its last answer.",
    ["phase", "outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
FENCED = Counter("seawall_fenced_total", "Writes that a cluster refused because of a higher epoch.")
TAKEOVERS = Counter("seawall_takeovers_total", "Rollouts taken up with work that another driver had begun.")
LEASES_LOST = Counter("seawall_leases_lost_total", "Drivers that found their lease run out or taken.", ["kind"])
REFUSALS = Counter("seawall_budget_refusals_total", "Candidates that found no place.", ["why", "scope"])
DRIFT = Counter("seawall_drift_total", "Objects that somebody else changed or deleted.", ["part", "policy"])
DIFFERENCES = Counter(
    "seawall_timeline_differences_total",
    "Differences between clusters and the registry, found after a failover.",
    ["kind"],
)
BREAKERS_OPENED = Counter(
    "seawall_breakers_opened_total", "Breakers that opened, by the code of their reason.", ["code"]
)
BREAKERS = Gauge("seawall_breakers", "Breakers that are not closed, by state.", ["state"])
SWEEP_LATE = Histogram(
    "seawall_sweep_late_seconds",
    "How long a rollout or operation was due and not driven when the sweep found it.",
    ["kind"],
    buckets=(0.1, 0.5, 1, 2, 5, 15, 60, 600, 3600),
)


class PrometheusMeters:
    """See `controlplane.ports.meters.Meters`."""

    def ticked(self, tick: Tick) -> None:
        """Count one transaction."""
        TICK_SECONDS.observe(tick.seconds)
        TICK_TARGETS.observe(sum(tick.moved.values()))
        TICK_STEPS.observe(sum(tick.issued.values()) + sum(tick.observed.values()))
        for counter, counts in ((TARGETS, tick.moved), (ISSUED, tick.issued), (OBSERVED, tick.observed)):
            for label, number in counts.items():
                counter.labels(label).inc(number)

    def effect_ended(self, end: EffectEnd) -> None:
        """Count one phase and its steps."""
        EFFECT_SECONDS.labels(end.phase, end.outcome).observe(end.seconds)
        for verb, outcome in end.results:
            STEPS.labels(verb, outcome).inc()
        if end.outcome == "fenced":
            FENCED.inc()

    def driving(self, kind: str) -> AbstractContextManager[object]:
        """Count a subject while the context is open."""
        return DRIVING.labels(kind).track_inprogress()

    def taken_over(self) -> None:
        """Count a takeover."""
        TAKEOVERS.inc()

    def lease_lost(self, kind: str) -> None:
        """Count a lost lease."""
        LEASES_LOST.labels(kind).inc()

    def refused(self, why: str, scope: str) -> None:
        """Count a refusal."""
        REFUSALS.labels(why, scope).inc()

    def drifted(self, part: str, policy: str) -> None:
        """Count one object."""
        DRIFT.labels(part, policy).inc()

    def differed(self, kind: str) -> None:
        """Count a difference."""
        DIFFERENCES.labels(kind).inc()

    def breaker_opened(self, code: str) -> None:
        """Count a breaker that opened."""
        BREAKERS_OPENED.labels(code).inc()

    def breakers(self, states: Count) -> None:
        """Note how many breakers are in which state."""
        for state in ("open", "halfOpen", "probing"):
            BREAKERS.labels(state).set(states.get(state, 0))

    def swept(self, kind: str, late: float) -> None:
        """Note how late the sweep was."""
        SWEEP_LATE.labels(kind).observe(max(0.0, late))
