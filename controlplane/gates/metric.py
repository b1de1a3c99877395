"""metric: a PromQL query with a threshold, for all tenants of a wave at once; a query of one's own, or a named one (`catalogue`).

Each look is one of four, and they are counted apart (as Argo Rollouts does, https://argo-rollouts.readthedocs.io/en/stable/features/analysis/):
good; bad (the release's fault); inconclusive (measured, but it says neither: too few events, or between `clear` and the threshold);
unknown (could not be measured: no answer, no series, NaN, too old, series that nothing tells apart). Zero measurements never pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field, model_validator

from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.ports.gates import Evidence, GatePorts, GateScene

from .catalogue import CATALOGUE, Named, named
from .scenes import before_a_way_back
from .signals import SHOWN, Question, apart, ask, some, unknown_placeholders, worst_first

Then = Literal["hold", "fail"]
Quiet = Literal["hold", "skip"]


class UnknownLimit(Wire):
    """How long it may stay unknown, and what then."""

    seconds: float = Field(default=600, ge=1)
    then: Then = Field(
        default="hold", description="hold: until it can be measured or a person decides; fail: the wave."
    )
    looks: int | None = Field(default=None, ge=1, le=1000, description="With `then: fail`: so many in a row fail too.")


class InconclusiveLimit(Wire):
    """How many looks in a row may say neither good nor bad, and what then."""

    looks: int = Field(default=10, ge=1, le=1000)
    then: Then = "hold"


class Volume(Wire):
    """How many events must stand behind a value before it says anything."""

    query: str | None = Field(
        default=None, min_length=1, max_length=4000, description="PromQL; absent: the catalogue's."
    )
    min: float = Field(gt=0, description="Fewer of them are inconclusive.")


class SignalSpec(Wire):
    """What to ask: a query, or the name of one in the catalogue (docs/reference/metric-gates.md)."""

    use: Name | None = Field(default=None, description="A named query of the catalogue.")
    query: str | None = Field(
        default=None,
        min_length=1,
        max_length=4000,
        description="PromQL; `{tenants}`, `{namespaces}`, `{since}` are filled in.",
    )
    with_: dict[str, str] = Field(
        default_factory=dict, alias="with", max_length=20, description="Fills the query's own placeholders."
    )
    source: Name | None = Field(default=None, description="Which metric source to ask; absent: the default one.")
    volume: Volume | None = Field(default=None, description="Events behind a value; absent: as the catalogue says.")
    quiet: Quiet = Field(
        default="hold",
        description="Tenants with no series or too few events: hold for them, or skip them (at least one must be measured).",
    )
    stale: Duration = Field(default=timedelta(minutes=2), description="An older sample is no measurement.")
    unknown: UnknownLimit = Field(default_factory=UnknownLimit)
    interval: Duration = Field(default=timedelta(seconds=15), description="Time between two looks.")

    @model_validator(mode="after")
    def _one_query(self) -> SignalSpec:
        if (self.use is None) == (self.query is None):
            raise ValueError("give exactly one of use (a name of the catalogue) and query")
        if self.use is not None and self.use not in CATALOGUE:
            raise ValueError(f"there is no named query {self.use}; there are {', '.join(CATALOGUE)}")
        if self.interval < timedelta(milliseconds=100):
            raise ValueError("the interval is at least PT0.1S")
        for text in (self.query or "", (self.volume.query if self.volume else None) or ""):
            if unknown := unknown_placeholders(text, self.filling):
                raise ValueError(f"nothing fills {', '.join(unknown)} in the query")
        if self.volume and not self.volume.query and not (self.named and self.named.volume):
            raise ValueError("volume needs a query: the named one has none, or there is no named one")
        if strange := sorted(set(self.with_) - set(self.named.filling if self.named else self.with_)):
            raise ValueError(f"{self.use} has no {', '.join(strange)} to fill in")
        return self

    @property
    def named(self) -> Named | None:
        """The entry of the catalogue."""
        return named(self.use) if self.use else None

    @property
    def filling(self) -> Mapping[str, str]:
        """Values of the query's own placeholders."""
        return {**(self.named.filling if self.named else {}), **self.with_}

    @property
    def text(self) -> str:
        """The query with placeholders."""
        return self.query or (self.named.query if self.named else "")

    def question(self, text: str, window: timedelta) -> Question:
        """A query over a window, to be asked of this spec's source."""
        return Question(text, window, self.stale, self.filling, self.source)

    def counting(self, window: timedelta) -> Question | None:
        """The query that counts events; None: none is asked for."""
        text = (self.volume and self.volume.query) or (self.named.volume if self.named else None)
        return self.question(text, window) if text and self.least_volume else None

    @property
    def least_volume(self) -> float:
        """Events that a value needs; 0: none are counted."""
        return self.volume.min if self.volume else (self.named.min_volume if self.named else 0.0)


class MetricSpec(SignalSpec):
    """`{"metric": {"use": "traefik-5xx", "max": 0.01}}` or `{"metric": {"query": "...", "max": 0.01}}`."""

    max: float | None = Field(default=None, description="A value above this is bad.")
    min: float | None = Field(default=None, description="A value below this is bad.")
    clear: float | None = Field(
        default=None, description="A value is good only on this side; between the two it is inconclusive."
    )
    window: Duration | None = Field(
        default=None, description="Fills `{window}`; absent: as the catalogue says, or PT5M."
    )
    samples: int = Field(default=3, ge=1, le=1000, description="Good looks in a row that a pass needs.")
    failures: int = Field(default=1, ge=1, le=100, description="Bad looks in a row of one tenant that fail it.")
    failures_in_all: int | None = Field(
        default=None, ge=1, le=1000, description="So many bad looks fail it, in a row or not."
    )
    inconclusive: InconclusiveLimit = Field(default_factory=InconclusiveLimit)

    @model_validator(mode="after")
    def _one_threshold(self) -> MetricSpec:
        if self.max is not None and self.min is not None:
            raise ValueError("give one of max and min, not both")
        if self.max is None and self.min is None and self.named is None:
            raise ValueError("give exactly one of max and min")
        if self.named is not None and (self.min if self.named.max is not None else self.max) is not None:
            raise ValueError(
                f"{self.use} is bad {'above' if self.named.max is not None else 'below'} its threshold: give the other one"
            )
        if self.clear is not None and self.bad(self.clear):
            raise ValueError("clear is on the bad side of the threshold")
        return self

    @property
    def upper(self) -> float | None:
        """The threshold above which a value is bad; None: it is bad below one."""
        if self.max is None and self.min is None and self.named:
            return self.named.max
        return self.max

    @property
    def threshold(self) -> float:
        """The threshold, whichever side is bad."""
        given = self.max if self.max is not None else self.min
        if given is None and self.named:
            given = self.named.max if self.named.max is not None else self.named.min
        return given or 0.0

    @property
    def span(self) -> timedelta:
        """What `{window}` becomes."""
        return self.window or (self.named.window if self.named else timedelta(minutes=5))

    def bad(self, value: float) -> bool:
        """Whether a value breaks the threshold."""
        return value > self.threshold if self.upper is not None else value < self.threshold

    def between(self, value: float) -> bool:
        """Whether a value is neither bad nor clear of it."""
        if self.clear is None or self.bad(value):
            return False
        return value > self.clear if self.upper is not None else value < self.clear

    @property
    def limit(self) -> str:
        """What is bad, as people write it."""
        return f"{'>' if self.upper is not None else '<'} {self.threshold:g}"


class MetricGate:
    """See the module."""

    kind = "metric"
    spec = MetricSpec

    def interval(self, spec: MetricSpec) -> float:
        """As the spec says."""
        return spec.interval.total_seconds()

    async def observe(self, spec: MetricSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Ask once for all tenants, and once for the events behind; the keeper adds the looks before this one."""
        counting = spec.counting(spec.span)
        questions = [spec.question(spec.text, spec.span), *([counting] if counting else [])]
        answer, *counted = await ask(questions, scene, ports)
        return {**answer, "asked": list(scene.asked), **({"volume": counted[0]} if counted else {})}

    def judge(self, spec: MetricSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """Judge this look together with those before it (`evidence["looks"]`, oldest first)."""
        if before_a_way_back(scene):
            return Judged(Verdict.PASS, "a way back waits for no measurement")
        look = read(spec, evidence, scene.now)
        looks = [*evidence.get("looks", []), look.text]
        if look.kind == "bad":
            return _judge_bad(spec, look, looks)
        if look.kind == "unknown":
            return judge_unknown(spec.unknown, look.reason, looks)
        if look.kind == "inconclusive":
            return _judge_inconclusive(spec.inconclusive, look, looks)
        good = tail(looks, "good")
        if good >= spec.samples:
            return Judged(Verdict.PASS, f"{look.reason}, {good} looks in a row", look=look.text)
        return Judged(Verdict.WAIT, f"{look.reason}; {good} of {spec.samples} good looks", look=look.text)

    def shown(self, spec: MetricSpec, evidence: Evidence) -> Evidence:
        """The worst values, those that can't be used first, and the last looks: a wave may have thousands of tenants."""
        return {
            **{key: value for key, value in evidence.items() if key != "volume"},
            **worst_first(evidence, high=spec.upper is not None),
            "asked": evidence["asked"][:SHOWN],
            "looks": evidence.get("looks", [])[-SHOWN:],
            **({"events": counts} if (counts := _few_events(evidence)) else {}),
        }


@dataclass(frozen=True, slots=True)
class Look:
    """What one look says by itself; `tenants`: those it blames."""

    kind: Literal["good", "bad", "inconclusive", "unknown"]
    reason: str
    tenants: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As the keeper remembers it: the kind, then whom it blames."""
        return " ".join([self.kind, *self.tenants])


def _judge_bad(spec: MetricSpec, look: Look, looks: Sequence[str]) -> Judged:
    """Fail once a tenant (or the one value for all) was bad often enough; it names those that were."""
    in_a_row = {tenant: tail(looks, "bad", tenant) for tenant in look.tenants} or {"": tail(looks, "bad")}
    blamed = tuple(tenant for tenant, times in in_a_row.items() if times >= spec.failures)
    in_all = sum(one.split()[0] == "bad" for one in looks)
    if blamed or (spec.failures_in_all is not None and in_all >= spec.failures_in_all):
        return Judged(Verdict.FAIL, look.reason, tenants=tuple(filter(None, blamed)) or look.tenants, look=look.text)
    return Judged(Verdict.WAIT, f"{look.reason}; {max(in_a_row.values())} of {spec.failures} bad looks", look=look.text)


def judge_unknown(limit: UnknownLimit, reason: str, looks: Sequence[str]) -> Judged:
    """Not measured: unknown, unless the spec says that so many in a row fail. Its limit in seconds is kept by `domain.gating`."""
    in_a_row = tail(looks, "unknown")
    if limit.then == "fail" and limit.looks is not None and in_a_row >= limit.looks:
        return Judged(Verdict.FAIL, f"{reason}; {in_a_row} looks in a row could not measure", look="unknown")
    return Judged(Verdict.UNKNOWN, reason, look="unknown")


def _judge_inconclusive(limit: InconclusiveLimit, look: Look, looks: Sequence[str]) -> Judged:
    in_a_row = tail(looks, "inconclusive")
    if in_a_row < limit.looks:
        return Judged(Verdict.WAIT, f"{look.reason}; {in_a_row} of {limit.looks} inconclusive looks", look=look.text)
    verdict = Verdict.FAIL if limit.then == "fail" else Verdict.UNKNOWN
    return Judged(verdict, f"{look.reason}; {in_a_row} looks in a row say neither good nor bad", look=look.text)


@dataclass(slots=True)
class _Sorted:
    """Values by what they say."""

    bad: list[tuple[float, str]]
    good: list[tuple[float, str]]
    between: list[tuple[float, str]]
    unusable: list[str]
    few: list[str]


def read(spec: MetricSpec, evidence: Evidence, now: datetime) -> Look:
    """What one look says, fail first: a bad tenant is bad, whatever can't be measured elsewhere."""
    if reason := unmeasured(evidence):
        return Look("unknown", reason)
    found = _sort(spec, evidence, now)
    if found.bad:
        return _bad(spec, found.bad)
    if found.unusable:
        return Look("unknown", f"{len(found.unusable)} of {len(evidence['values'])} samples are NaN or too old")
    if spec.quiet == "hold" and (gone := missing(evidence)):
        return Look("unknown", f"no series of {some(gone)}")
    if spec.quiet == "hold" and found.few:
        return Look("inconclusive", f"too few events: {some(found.few)}")
    if found.between:
        value, tenant = found.between[0]
        return Look("inconclusive", f"{value:g}{_of(tenant)} is between {spec.clear:g} and {spec.threshold:g}")
    if not found.good:
        return Look("unknown", "no tenant has enough events to measure")
    return Look("good", f"{found.good[0][0]:g} is within the limit ({spec.limit} fails)")


def unmeasured(evidence: Evidence) -> str:
    """Why a whole answer says nothing; empty if it does."""
    if evidence.get("error"):
        return f"could not measure: {evidence['error']}"
    if (evidence.get("volume") or {}).get("error"):
        return f"could not count events: {evidence['volume']['error']}"
    if not evidence["values"]:
        return "the query gives no series"
    return apart(evidence["values"])


def missing(evidence: Evidence) -> list[str]:
    """Whom the query was asked for and gives no series of; nobody if it gives one value for all."""
    seen = {value["tenant"] for value in evidence["values"]}
    return [] if seen == {""} else [tenant for tenant in evidence.get("asked", ()) if tenant not in seen]


def _sort(spec: MetricSpec, evidence: Evidence, now: datetime) -> _Sorted:
    found = _Sorted([], [], [], [], [])
    events = counted(evidence)
    for one in evidence["values"]:
        value, tenant = one["value"], one["tenant"]
        if value is None or datetime.fromisoformat(one["at"]) + spec.stale < now:
            found.unusable.append(tenant)
        elif events is not None and events.get(tenant, 0.0) < spec.least_volume:
            who = f"{tenant} has " if tenant else ""
            found.few.append(f"{who}{events.get(tenant, 0.0):g} of {spec.least_volume:g}")
        elif spec.bad(value):
            found.bad.append((value, tenant))
        else:
            (found.between if spec.between(value) else found.good).append((value, tenant))
    for values in (found.bad, found.between, found.good):
        values.sort(reverse=spec.upper is not None)
    return found


def counted(evidence: Evidence) -> dict[str, float] | None:
    """Events per tenant; None: nothing was counted."""
    if "volume" not in evidence:
        return None
    return {one["tenant"]: one["value"] or 0.0 for one in evidence["volume"]["values"]}


def _few_events(evidence: Evidence) -> dict[str, float]:
    """The fewest events behind a value, by tenant; empty if none were counted."""
    fewest = sorted((counted(evidence) or {}).items(), key=lambda pair: pair[1])
    return dict(fewest[:SHOWN])


def _bad(spec: MetricSpec, bad: Sequence[tuple[float, str]]) -> Look:
    names = [tenant for _, tenant in bad if tenant]
    return Look("bad", f"{bad[0][0]:g} {spec.limit}{_of(some(names))}", tuple(names))


def _of(whom: str) -> str:
    return f" ({whom})" if whom else ""


def tail(looks: Sequence[str], kind: str, tenant: str = "") -> int:
    """How many of the last looks in a row were of a kind (and blamed this tenant)."""
    count = 0
    for look in reversed(looks):
        words = look.split()
        if words[0] != kind or (tenant and tenant not in words[1:]):
            break
        count += 1
    return count
