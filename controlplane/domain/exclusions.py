"""Who stays out of a plan, who will have to wait, and how each target goes back."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache

from controlplane.domain.plans import Exclusion, Waiting, WayBack
from controlplane.domain.releases import RangeCheck, upgrade_allowed
from controlplane.domain.targets import PlanInputs, ReleaseFacts, TargetFacts
from controlplane.domain.windows import NEVER

type Rule = Callable[[TargetFacts, PlanInputs], tuple[str, str, datetime | None] | None]
"""(code, sentence, until) when the rule keeps a target out."""


def exclusion_of(target: TargetFacts, inputs: PlanInputs) -> Exclusion | None:
    """Say why a selected target stays out of the plan, or None. The first rule that applies is the reason."""
    for rule in RULES:
        found = rule(target, inputs)
        if found is not None:
            code, detail, until = found
            return Exclusion(
                tenant=target.tenant, environment=target.environment, code=code, detail=detail, until=until
            )
    return None


def _phase(target: TargetFacts, _: PlanInputs) -> tuple[str, str, datetime | None] | None:
    match target.phase:
        case "active":
            return None
        case "suspended":
            return "suspended", "The tenant is suspended; retry it after it is resumed.", None
        case "onboarding":
            return (
                "onboarding",
                "The tenant is being onboarded and gets the newest proven release of its channel.",
                None,
            )
        case _:
            return "offboarding", "The tenant is leaving.", None


def _reach(target: TargetFacts, _: PlanInputs) -> tuple[str, str, datetime | None] | None:
    if target.reachable:
        return None
    return "unreachable", f"Cluster {target.cluster} does not answer; retry the target when it does.", None


def _problem(target: TargetFacts, _: PlanInputs) -> tuple[str, str, datetime | None] | None:
    return (target.problem.code, target.problem.detail, None) if target.problem else None


def _pin(target: TargetFacts, inputs: PlanInputs) -> tuple[str, str, datetime | None] | None:
    pin = target.pin
    if pin is None or inputs.kind == "values" or not pin.holds_back(desired_version(target, inputs), inputs.now):
        return None
    return "pinned", f"Pinned by {pin.owner}: {pin.reason}", pin.until


def _hold(target: TargetFacts, inputs: PlanInputs) -> tuple[str, str, datetime | None] | None:
    hold = target.hold or (inputs.release.hold if inputs.release else None)
    if hold is None or inputs.kind != "deploy":
        return None
    return "held", f"The release is held: {hold.reason}. A person can lift the hold with a reason.", None


def _nothing_to_return_to(target: TargetFacts, inputs: PlanInputs) -> tuple[str, str, datetime | None] | None:
    if target.desired_content is not None:
        return None
    if inputs.kind == "rollback":
        return "no-revision-to-return-to", "There is no verified revision to go back to.", None
    return "nothing-installed", f"The tenant does not run {inputs.app}, so there is nothing to change.", None


def _already_there(target: TargetFacts, _: PlanInputs) -> tuple[str, str, datetime | None] | None:
    verified = target.base_revision > 0 and target.base_revision == target.last_verified_revision
    if not verified or target.current_content != target.desired_content:
        return None
    return "already-there", f"Revision {target.base_revision} has exactly this content and is verified.", None


def _unsafe_upgrade(target: TargetFacts, inputs: PlanInputs) -> tuple[str, str, datetime | None] | None:
    release = inputs.release
    if release is None or inputs.kind != "deploy" or not release.upgrade_from or target.current_version is None:
        return None
    check = RangeCheck(allowed=True)
    if target.current_version != release.version:
        check = _upgrade_allowed(release.upgrade_from, target.current_version)
    return None if check else ("unsafe-upgrade", f"{release.version}: {check.reason}.", None)


@lru_cache(maxsize=4096)
def _upgrade_allowed(upgrade_from: str, current_version: str) -> RangeCheck:
    """A fleet runs few versions: ask once for each."""
    return upgrade_allowed(upgrade_from, current_version)


def _crossing(target: TargetFacts, inputs: PlanInputs) -> tuple[str, str, datetime | None] | None:
    if inputs.kind != "rollback" or target.crosses in ("none", "reversible"):
        return None
    if target.crosses == "forward-only":
        return "forward-only", "A database change since then can't be undone; only a newer release helps.", None
    return (
        "restore-required",
        "Going back needs a restore of the database, which a rollback never does by itself.",
        None,
    )


RULES: tuple[Rule, ...] = (
    _phase,
    _hold,
    _pin,
    _nothing_to_return_to,
    _already_there,
    _unsafe_upgrade,
    _crossing,
    _problem,
    _reach,
)


def desired_version(target: TargetFacts, inputs: PlanInputs) -> str | None:
    """Give the version a target would run."""
    return target.desired_version or (inputs.release.version if inputs.release else None)


def waits_of(target: TargetFacts, inputs: PlanInputs) -> list[Waiting]:
    """List what a planned target will wait for, as far as it is known now."""
    found: list[tuple[str, str, datetime | None, str | None]] = []
    if target.busy_with is not None:
        found.append(("slot", f"Rollout {target.busy_with} is changing it.", None, None))
    if target.window_opens is not None and target.window_opens > inputs.now and inputs.kind != "rollback":
        until = None if target.window_opens == NEVER else target.window_opens
        found.append(("window", target.window_reason or "Its window is closed.", until, None))
    if target.deferred_until is not None and target.deferred_until > inputs.now and inputs.kind != "rollback":
        found.append(("deferral", "Its owner deferred changes.", target.deferred_until, "tenant-owner"))
    if target.quota is not None and not target.quota:
        found.append(("quota", target.quota.reason, None, "platform-admin"))
    return [
        Waiting(tenant=target.tenant, environment=target.environment, gate=gate, reason=why, until=until, who=who)
        for gate, why, until, who in found
    ]


def way_back_of(target: TargetFacts, inputs: PlanInputs, exposed: timedelta) -> WayBack:
    """Say how a target goes back. `exposed`: how long it runs the new version, at most, before it is judged.

    A restore loses what was written since the backup that is taken just before the migration, so at most `exposed`,
    rounded up to minutes.
    """
    if inputs.kind == "rollback":
        return WayBack(kind="none", reason="A rollback is never rolled back by itself.")
    if target.last_verified_revision == 0:
        return WayBack(kind="none", reason="It has no verified revision.")
    if target.unrecreatable:
        gone = ", ".join(target.unrecreatable[:5])
        why = f"These objects are pruned and can't be made again: {gone}."
        return WayBack(kind="none", revision=target.last_verified_revision, reason=why)
    return _database_way_back(target, inputs.release, exposed)


def _database_way_back(target: TargetFacts, release: ReleaseFacts | None, exposed: timedelta) -> WayBack:
    revision = target.last_verified_revision
    change = release.database if release else "none"
    if change == "forward-only":
        return WayBack(kind="none", revision=revision, reason="Its database change can't be undone.")
    if change == "restore-required":
        minutes = math.ceil(exposed.total_seconds() / 60)
        reason = f"The database goes back to the backup before the migration; up to {minutes} minutes of data are lost."
        return WayBack(kind="restore", revision=revision, data_loss=timedelta(minutes=minutes), reason=reason)
    return WayBack(kind="reapply", revision=revision)
