"""The stage `install`: the apps' releases come to new environments through one rollout per app, release and environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from controlplane.domain.channels import Channel, choose_release, default_channel
from controlplane.domain.errors import ConflictError, DependencyError, SeawallError
from controlplane.domain.operations import ItemState
from controlplane.domain.tenants import AppChoice
from controlplane.ports.stores.operations import InstalledTarget, Item
from controlplane.ports.stores.tenants import ReleaseChoice
from controlplane.services.operations.installer import InstallWish
from controlplane.services.operations.run import Run

NOTHING = "none"
"""In an item's memory: the app has no release that could be installed."""
_OVER = frozenset({"succeeded", "failed", "aborted"})
_GAVE_UP = frozenset({"failed", "rolledBack", "stuck", "skipped", "cancelled"})

type _Key = tuple[str, str, str]


class NotInstalledError(ConflictError):
    """The rollout that was to install an app ended without it."""

    code = "not-installed"
    title = "An app was not installed"


async def install(run: Run, items: Sequence[Item]) -> None:
    """Start what is missing, then judge each item by its targets."""
    before = {item.ordinal: _fingerprint(item) for item in items}
    targets = await _targets(run)
    started = await _start_missing(run, items, targets)
    if started:
        targets = await _targets(run)
    for item in items:
        _judge(run, item, targets)
    changed = [item for item in items if _fingerprint(item) != before[item.ordinal]]
    if changed:
        async with run.transaction() as uow:
            await uow.operations.save_items(run.operation.id, changed)


def _fingerprint(item: Item) -> tuple[object, ...]:
    """What of an item this stage may change: only items that did are written."""
    return item.state, item.stage, repr(item.memory), item.problem is None


async def _targets(run: Run) -> dict[_Key, InstalledTarget]:
    async with run.tools.transactions.engine() as uow:
        found = await uow.operations.installs(run.operation.id)
    return {(t.tenant, t.environment, t.app): t for t in found}


async def _start_missing(run: Run, items: Sequence[Item], targets: Mapping[_Key, InstalledTarget]) -> bool:
    """Start rollouts for apps that have no target yet; one for all tenants that get the same. True if one was started."""
    missing = [(item, app) for item in items for app in _apps(run, item) if _is_missing(item, app, targets)]
    if not missing:
        return False
    async with run.tools.transactions.engine() as uow:
        releases = await uow.tenants.releases({app for _, app in missing})
        channels = {app: spec.get("channels") or {} for app, spec in (await uow.tenants.config("apps")).items()}
        now = uow.now
    groups: dict[tuple[str, str, str], list[Item]] = {}
    for item, app in missing:
        choice = run.specs[item.tenant].apps[app]
        rule = channels.get(app, {}).get(choice.channel)
        channel = Channel.model_validate(rule) if rule else default_channel(choice.channel)
        version = _version_for(choice, channel, [r for r in releases if r.app == app], now)
        _noted(item)[app] = version or NOTHING
        if version is not None:
            groups.setdefault((app, version, item.environment), []).append(item)
    for (app, version, environment), members in sorted(groups.items(), key=lambda group: group[0]):
        if run.stopping:
            return True
        await _start(run, app, version, environment, members)
    return bool(groups)


def _version_for(choice: AppChoice, channel: Channel, releases: Iterable[ReleaseChoice], now: datetime) -> str | None:
    if choice.pin is not None and choice.pin.version is not None and choice.pin.in_force(now):
        return choice.pin.version
    chosen = choose_release(releases, channel)
    return chosen.version if chosen else None


async def _start(run: Run, app: str, version: str, environment: str, members: Sequence[Item]) -> None:
    wish = InstallWish(
        run.operation.id, run.operation.requested_by, app, version, environment, [item.tenant for item in members]
    )
    try:
        excluded = {one.tenant: one for one in await run.tools.installer.install(wish)}
    except SeawallError as error:
        for item in members:
            _noted(item).pop(app, None)
            if isinstance(error, DependencyError):
                run.wait(item, "rollout", error.detail)
            else:
                run.fail(item, _prefixed(app, version, error.code, error.detail))
        return
    for item in members:
        if item.tenant in excluded:
            run.fail(item, _prefixed(app, version, excluded[item.tenant].code, excluded[item.tenant].detail))


def _judge(run: Run, item: Item, targets: Mapping[_Key, InstalledTarget]) -> None:
    if item.state is ItemState.FAILED or "retryAt" in item.memory:
        return
    waiting: InstalledTarget | None = None
    for app in _apps(run, item):
        target = targets.get((item.tenant, item.environment, app))
        version = _noted(item).get(app, NOTHING)
        if target is None or target.state == "verified":
            continue
        if target.state in _GAVE_UP or target.rollout_state in _OVER:
            reason = target.reason or f"its target ended as {target.state}"
            run.fail(item, _prefixed(app, version, target.code, reason))
            return
        waiting = target
    if waiting is None:
        run.move(item, ItemState.SUCCEEDED, "done")
        return
    run.move(item, ItemState.WAITING)
    reason = f"rollout {waiting.rollout_id} installs {waiting.app}"
    item.memory["waiting"] = {"gate": "rollout", "reason": reason, "tenant": item.tenant}


def _apps(run: Run, item: Item) -> Iterable[str]:
    only = item.spec.get("apps")
    apps = run.specs[item.tenant].apps
    return apps if only is None else [app for app in apps if app in only]


def _is_missing(item: Item, app: str, targets: Mapping[_Key, InstalledTarget]) -> bool:
    return (item.tenant, item.environment, app) not in targets and _noted(item).get(app) != NOTHING


def _noted(item: Item) -> dict[str, str]:
    """Which version of which app this item's rollouts install; in the item's memory, so that a successor knows."""
    noted: dict[str, str] = item.memory.setdefault("installs", {})
    return noted


def _prefixed(app: str, version: str, code: str, reason: str) -> NotInstalledError:
    return NotInstalledError(f"{app}/{version} was not installed: {reason}", code=code or "not-installed")
