"""Preparing candidates: read the contents they need, work out their steps. Immutable content, so outside any transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from controlplane.domain.dispatch import Asked
from controlplane.domain.engine import Faulty, Phase, TargetNow
from controlplane.domain.manifests import InventoryItem, Rendered, mark
from controlplane.domain.quota import peak_resources
from controlplane.domain.rollouts import TargetState
from controlplane.domain.work import Given, Work, apply_work, back_work, migrate_work, prune_work, step_id
from controlplane.ports.engine import Ask, EngineStore


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a candidate would do if it started now. `peak` is what its namespace's quota must hold meanwhile."""

    asked: Asked
    work: Work
    new: Rendered
    base: Sequence[InventoryItem]
    peak: Mapping[str, Decimal]


class MissingContentError(LookupError):
    """Content that a plan names is not stored: a bug, or a restored database that lacks it. Concerns one target only."""


def next_phase(target: TargetNow) -> Phase:
    """The phase a candidate would start, before it is known whether its release migrates."""
    if target.phase:
        return target.phase
    return target.wants or "apply"


class Preparer:
    """Works out candidates' steps for one rollout.

    `migrates` False (a rollback): no Job runs, because an older release's migration knows nothing of a newer schema.
    """

    def __init__(self, store: EngineStore, rollout: str, app: str, *, migrates: bool = True) -> None:
        self._store = store
        self._rollout = rollout
        self._app = app
        self._migrates = migrates

    async def prepare(self, targets: Sequence[TargetNow]) -> tuple[dict[str, Prepared], list[Faulty]]:
        """Prepare targets, by tenant: one read for all of them; and say of which the content is missing."""
        if not targets:
            return {}, []
        revisions = [ask for t in targets for ask in _revisions(t)]
        contents, given = await self._store.stored([_new(t) for t in targets], revisions, self._app)
        contents = {ask: self._marked(ask, rendered) for ask, rendered in contents.items()}
        given = {ask: Given(one.revision, self._marked(ask, one.rendered), one.inventory) for ask, one in given.items()}
        prepared: dict[str, Prepared] = {}
        faulty: list[Faulty] = []
        for target in targets:
            try:
                prepared[target.tenant] = self._one(target, contents, given)
            except MissingContentError as error:
                faulty.append(Faulty(target.tenant, "content-missing", str(error)))
        return prepared, faulty

    def _one(self, target: TargetNow, contents: Mapping[Ask, Rendered], given: Mapping[Ask, Given]) -> Prepared:
        new = contents.get(_new(target))
        if new is None:
            raise MissingContentError(f"content {target.content} of tenant {target.tenant} is not stored")
        base = given.get(Ask(target.tenant, target.environment, target.base_revision))
        phase = next_phase(target)
        if phase == "back":
            return self._back(target, new, given)
        whole = target.attempt > 1 or base is None
        work = self._work(target, phase, new, base, whole=whole)
        if phase == "apply" and target.state is TargetState.PENDING and self._migrates:
            first = migrate_work(self._step(target, "migrate"), new, installs=base is None)
            work = first if first.items else work
        prunes = bool(prune_work(self._step(target, "prune"), new, base).items)
        asked = Asked(migrates=work.phase == "migrate", prunes=prunes)
        peak = (
            peak_resources(new, previous=base.rendered if base else None) if target.state is TargetState.PENDING else {}
        )
        return Prepared(asked, work, new, base.inventory if base else (), peak)

    def _work(self, target: TargetNow, phase: Phase, new: Rendered, base: Given | None, *, whole: bool) -> Work:
        if phase == "migrate":
            return migrate_work(self._step(target, "migrate"), new, installs=base is None)
        if phase == "prune":
            return prune_work(self._step(target, "prune"), new, base)
        return apply_work(self._step(target, "apply"), new, base, whole=whole)

    def _back(self, target: TargetNow, new: Rendered, given: Mapping[Ask, Given]) -> Prepared:
        good = given.get(Ask(target.tenant, target.environment, target.back_to))
        if good is None:
            raise MissingContentError(
                f"revision {target.back_to} of tenant {target.tenant}, its way back, is not stored"
            )
        bad = given.get(Ask(target.tenant, target.environment, target.revision or 0)) or Given(0, new)
        work = back_work(self._step(target, "back"), bad, good)
        return Prepared(Asked(), work, good.rendered, good.inventory, {})

    def _marked(self, ask: Ask, rendered: Rendered) -> Rendered:
        """Content as it is applied: with Seawall's marks, which the stored bytes don't carry."""
        jobs = [
            job.model_copy(update={"manifest": mark([job.manifest], ask.tenant, ask.environment, self._app)[0]})
            for job in rendered.jobs
        ]
        objects = mark(rendered.objects, ask.tenant, ask.environment, self._app)
        return rendered.model_copy(update={"objects": objects, "jobs": tuple(jobs)})

    def _step(self, target: TargetNow, phase: str) -> UUID:
        return step_id(self._rollout, target.tenant, target.attempt, phase)


def _new(target: TargetNow) -> Ask:
    return Ask(target.tenant, target.environment, content=target.content)


def _revisions(target: TargetNow) -> list[Ask]:
    numbers = {target.base_revision, target.back_to, target.revision or 0} - {0}
    return [Ask(target.tenant, target.environment, number) for number in sorted(numbers)]
