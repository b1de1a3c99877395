"""What differs between the plan somebody saw and the plan as it would be now: the answer of 409 `plan-changed`."""

from __future__ import annotations

from controlplane.domain.errors import ConflictError, InvalidError
from controlplane.domain.plans import Plan, PlannedTarget
from controlplane.domain.wire import Wire


class Change(Wire):
    """One thing that is different: `what` it is about, as it `was`, and as it `is` now."""

    what: str
    was: str
    now: str


class TargetChange(Wire):
    """A target that is in both plans, but not in the same way."""

    tenant: str
    environment: str
    changes: tuple[Change, ...]


class PlanDifference(Wire):
    """From the old plan to the new one. Empty in all parts when the plans' hashes are equal."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    changed: tuple[TargetChange, ...] = ()
    rules: tuple[Change, ...] = ()

    def summary(self) -> str:
        """Say it in a few words: `2 targets joined, 1 target left; limits changed`."""
        counts = ((len(self.joined), "joined"), (len(self.left), "left"), (len(self.changed), "changed"))
        parts = [f"{n} target{'s' if n > 1 else ''} {verb}" for n, verb in counts if n]
        rules = ", ".join(dict.fromkeys(rule.what for rule in self.rules))
        return "; ".join(filter(None, (", ".join(parts), f"{rules} changed" if rules else ""))) or "nothing changed"


def difference(old: Plan, new: Plan) -> PlanDifference:
    """Compare two plans in what their hashes cover."""
    was, now = _places(old), _places(new)
    both = sorted(was.keys() & now.keys())
    changed = []
    for key in both:
        found = _target_changes(was[key], now[key])
        if found:
            changed.append(TargetChange(tenant=key[0], environment=key[1], changes=found))
    return PlanDifference(
        joined=tuple(tenant for tenant, _ in sorted(now.keys() - was.keys())),
        left=tuple(tenant for tenant, _ in sorted(was.keys() - now.keys())),
        changed=tuple(changed),
        rules=_rule_changes(old, new),
    )


type _Place = tuple[str, int, PlannedTarget]


def _places(plan: Plan) -> dict[tuple[str, str], _Place]:
    return {t.key: (wave.name, n, t) for wave in plan.waves for n, t in enumerate(wave.targets, start=1)}


def _target_changes(was: _Place, now: _Place) -> tuple[Change, ...]:
    (old_wave, old_place, old), (new_wave, new_place, new) = was, now
    pairs: list[tuple[str, object, object]] = [
        ("wave", old_wave, new_wave),
        ("cluster", old.cluster, new.cluster),
        ("region", old.region, new.region),
        ("content", old.content, new.content),
        ("baseRevision", old.base_revision, new.base_revision),
        ("wayBack", _way_back(old), _way_back(new)),
    ]
    if old_wave == new_wave:
        pairs.append(("place", old_place, new_place))
    return _differing(pairs)


def _way_back(target: PlannedTarget) -> str:
    return f"{target.way_back.kind} {target.way_back.revision}"


def _rule_changes(old: Plan, new: Plan) -> tuple[Change, ...]:
    pairs: list[tuple[str, object, object]] = [
        ("kind", old.kind, new.kind),
        ("release", f"{old.release} {old.digest}", f"{new.release} {new.digest}"),
        ("limits", old.limits.model_dump_json(), new.limits.model_dump_json()),
        ("during", old.during, new.during),
        ("windows", old.windows.model_dump_json(), new.windows.model_dump_json()),
        ("onFailure", old.on_failure.model_dump_json(), new.on_failure.model_dump_json()),
        ("blame", old.blame, new.blame),
        ("waves", [w.name for w in old.waves], [w.name for w in new.waves]),
    ]
    later = {wave.name: wave for wave in new.waves}
    both = [(wave, later[wave.name]) for wave in old.waves if wave.name in later]
    pairs += [(f"rules of wave {was.name}", _rules(was), _rules(now)) for was, now in both]
    return _differing(pairs)


def _rules(wave: Wire) -> str:
    return wave.model_dump_json(include={"soak", "before", "before_each", "after", "success"})


def _differing(pairs: list[tuple[str, object, object]]) -> tuple[Change, ...]:
    return tuple(Change(what=what, was=str(was), now=str(now)) for what, was, now in pairs if was != now)


def ensure_way_back_or_word(plan: Plan, word: str) -> None:
    """Refuse to start what gives a way back up unless a person said why it may. Raises ConflictError `no-way-back`."""
    giving_up = plan.giving_up()
    if not giving_up or word:
        return
    first = giving_up[0]
    raise ConflictError(
        f"{len(giving_up)} of {plan.size} targets can't go back to what they run, such as {first.tenant}: {first.way_back.reason} "
        "Start it with acceptNoWayBack and the reason why it may go ahead all the same.",
        code="no-way-back",
        extra={"count": len(giving_up), "tenants": [t.tenant for t in giving_up[:10]]},
    )


def ensure_startable(plan: Plan, *, if_plan_hash: str | None = None, seen: Plan | None = None) -> None:
    """Refuse to start a plan that is empty, that is not the one the caller saw, or that meets a busy target.

    `seen`: the plan behind `if_plan_hash`, if it is still known. Raises ConflictError `plan-changed` (with the
    difference in `extra`) or `busy` (the strategy says reject), InvalidError `nothing-to-do`.
    """
    if if_plan_hash is not None and if_plan_hash != plan.plan_hash:
        found = difference(seen, plan) if seen is not None else None
        what = found.summary() if found else "the plan that was seen is not kept any more"
        raise ConflictError(
            f"The plan changed since it was previewed: {what}. Preview again and start what you then see.",
            code="plan-changed",
            extra={"planHash": plan.plan_hash, "difference": found.model_dump(mode="json") if found else None},
        )
    if not plan.size:
        raise InvalidError(
            f"The plan has no targets: all {len(plan.excluded)} selected ones are left out. Its preview says why for each.",
            code="nothing-to-do",
            extra={"excluded": [e.model_dump(mode="json") for e in plan.excluded[:10]]},
        )
    busy = [w.tenant for w in plan.waiting_for if w.gate == "slot"]
    if busy and plan.when_busy == "reject":
        raise ConflictError(
            f"{len(busy)} targets have another change and the strategy says whenBusy: reject: {', '.join(busy[:10])}.",
            code="busy",
            extra={"busy": busy[:10]},
        )
