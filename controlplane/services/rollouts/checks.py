"""What only a comparison with the present finds: quota too small at the peak, and fields the API server won't change.

Targets that go from equal to equal content are one case; each case is looked at once, on one of its targets. What could not
be looked at is said in a note: it is unknown, never fine.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.domain.apps import AppSpec
from controlplane.domain.errors import ConflictError, DependencyError
from controlplane.domain.manifests import Manifest, Rendered, mark, unrecreatable
from controlplane.domain.plans import Note
from controlplane.domain.quota import Fit, fit, peak_resources, steady_resources
from controlplane.domain.resources import add
from controlplane.domain.targets import TargetProblem
from controlplane.ports.clusters import Cluster, RejectedError
from controlplane.ports.stores.rollout_rows import TargetRow

from .content import Given
from .facts import Offer
from .snapshot import Snapshot
from .tools import RolloutTools

MAX_CASES = 500
"""So many different changes of content are compared with quotas; the engine's preflight looks at every target anyway."""
MAX_SAMPLES = 24
_AT_ONCE = 8
_SECONDS = 20.0


@dataclass(frozen=True)
class Findings:
    """By tenant: whether its quota suffices, what stands against it, what is pruned for good; and what a person should know."""

    fits: Mapping[str, Fit] = field(default_factory=dict)
    problems: Mapping[str, TargetProblem] = field(default_factory=dict)
    unrecreatable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class _Case:
    """Targets that go from equal to equal content on one cluster and tier; the first stands for all."""

    rows: list[TargetRow]
    given: Given

    @property
    def sample(self) -> TargetRow:
        return self.rows[0]


async def examine(
    tools: RolloutTools, snapshot: Snapshot, offered: Mapping[str, Offer], app: str, *, dry_run: bool
) -> Findings:
    """Compare what targets would be given with their quotas and, where `dry_run`, with their cluster."""
    cases = _cases(snapshot.targets, offered)
    looked_at, more = cases[:MAX_CASES], len(cases) - MAX_CASES
    present = await _present(tools, looked_at, app)
    fits = await asyncio.to_thread(_fits, looked_at, present, snapshot)
    notes = []
    if more > 0:
        detail = (
            f"{more} of {len(cases)} different changes of content were not compared with quotas yet; preflight does. "
            "Whether they prune something that can't be made again is not known."
        )
        notes.append(Note(code="quota-sampled", detail=detail))
    problems: dict[str, TargetProblem] = {}
    if dry_run and cases:
        problems, found = await _dry_run(tools, cases, app)
        notes += found
    return Findings(fits, problems, _unrecreatable(looked_at, present, snapshot.app), tuple(notes))


def _cases(rows: Sequence[TargetRow], offered: Mapping[str, Offer]) -> list[_Case]:
    groups: defaultdict[tuple[object, ...], list[TargetRow]] = defaultdict(list)
    for row in rows:
        given = offered.get(row.tenant)
        if isinstance(given, Given) and given.template is not None and given.content != row.content:
            now = (row.cluster, row.tier, row.version, row.values_hash, row.others)
            groups[(*now, given.version, given.values_hash)].append(row)
    cases = []
    for members in groups.values():
        given = offered[members[0].tenant]
        if isinstance(given, Given):
            cases.append(_Case(members, given))
    return cases


@dataclass(frozen=True)
class _Present:
    """What the samples run now, by tenant: the app's content, and that of other apps beside it."""

    app: Mapping[str, Rendered]
    others: Mapping[str, list[Rendered]]


async def _present(tools: RolloutTools, cases: Sequence[_Case], app: str) -> _Present:
    keys = [(case.sample.tenant, case.sample.content) for case in cases if case.sample.content]
    crowded = [case.sample for case in cases if case.sample.others]
    async with tools.open() as uow:
        bodies = await uow.rollouts.contents(keys) if keys else {}
        beside = (
            await uow.rollouts.other_apps(app, crowded[0].environment, [row.tenant for row in crowded])
            if crowded
            else []
        )
    others: defaultdict[str, list[Rendered]] = defaultdict(list)
    for tenant, body in beside:
        others[tenant].append(rendered_from(body))
    return _Present({tenant: rendered_from(body) for (tenant, _), body in bodies.items()}, others)


def rendered_from(body: bytes) -> Rendered:
    """Read a stored content body."""
    return Rendered.model_validate(json.loads(zlib.decompress(body)))


def _fits(cases: Sequence[_Case], present: _Present, snapshot: Snapshot) -> dict[str, Fit]:
    found: dict[str, Fit] = {}
    for case in cases:
        tier, tenant = snapshot.tiers.get(case.sample.tier), case.sample.tenant
        if tier is None or case.given.template is None:
            continue
        defaults = tier.limit_defaults()
        peak = peak_resources(case.given.template.rendered, previous=present.app.get(tenant), defaults=defaults)
        beside = add({}, *(steady_resources(other, defaults=defaults) for other in present.others.get(tenant, ())))
        found |= dict.fromkeys((row.tenant for row in case.rows), fit(peak, tier.resources(), beside))
    return found


def _unrecreatable(cases: Sequence[_Case], present: _Present, app: AppSpec) -> dict[str, tuple[str, ...]]:
    """What each target's prune takes for good."""
    found: dict[str, tuple[str, ...]] = {}
    for case in cases:
        before = present.app.get(case.sample.tenant)
        if before is None or case.given.template is None:
            continue
        gone = unrecreatable(before, case.given.template.rendered, app.custom_kinds)
        if gone:
            found |= dict.fromkeys((row.tenant for row in case.rows), gone)
    return found


async def _dry_run(
    tools: RolloutTools, cases: Sequence[_Case], app: str
) -> tuple[dict[str, TargetProblem], list[Note]]:
    """Ask each cluster about samples, a few at a time; a refusal is a problem of every target of the case."""
    if tools.clusters is None:
        return {}, [_unknown(sum(len(c.rows) for c in cases), "this process has no connection to clusters")]
    samples = sorted(cases, key=lambda case: -len(case.rows))[:MAX_SAMPLES]
    gate = asyncio.Semaphore(_AT_ONCE)
    answers = await asyncio.gather(*(_ask(tools, case, app, gate) for case in samples))
    problems: dict[str, TargetProblem] = {}
    unknown: defaultdict[str, int] = defaultdict(int)
    for case, answer in zip(samples, answers, strict=True):
        if isinstance(answer, TargetProblem):
            problems |= dict.fromkeys((row.tenant for row in case.rows), answer)
        elif answer is not None:
            unknown[answer] += len(case.rows)
    notes = [_unknown(count, why) for why, count in sorted(unknown.items())]
    if len(cases) > len(samples):
        left = sum(len(c.rows) for c in cases) - sum(len(c.rows) for c in samples)
        notes.append(_unknown(left, f"only the {len(samples)} most frequent of {len(cases)} changes were tried"))
    return problems, notes


def _unknown(targets: int, why: str) -> Note:
    detail = f"For {targets} targets it is unknown whether the API server takes every field: {why}."
    return Note(code="dry-run-unknown", detail=detail)


async def _ask(tools: RolloutTools, case: _Case, app: str, gate: asyncio.Semaphore) -> TargetProblem | str | None:
    """A problem, a sentence on why it could not be asked, or None: the server takes everything."""
    if tools.clusters is None or case.given.template is None:
        return "it was not asked"
    objects = _objects_for(case, app)
    try:
        async with gate, asyncio.timeout(_SECONDS):
            cluster: Cluster = await tools.clusters.get(case.sample.cluster)
            for manifest in objects:
                await cluster.dry_run(case.sample.namespace, manifest)
    except RejectedError as error:
        return TargetProblem(error.code, error.detail)
    except (DependencyError, ConflictError) as error:
        return f"{case.sample.cluster} answered {error.code}"
    except TimeoutError:
        return f"{case.sample.cluster} did not answer within {_SECONDS:.0f} s"
    return None


def _objects_for(case: _Case, app: str) -> Sequence[Manifest]:
    """The objects as they would be applied to the sample, with Seawall's marks."""
    body = case.given.body()
    objects = rendered_from(body).objects if body is not None else ()
    return mark(objects, case.sample.tenant, case.sample.environment, app)
