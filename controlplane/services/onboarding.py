"""Onboarding requests: checked, names reserved, and an operation made of them. The work itself is in `services.operations`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import ValidationError

from controlplane.domain.errors import ConflictError, FieldError, InvalidError, SeawallError
from controlplane.domain.operations import OperationKind
from controlplane.domain.tenants import TenantSpec
from controlplane.domain.tiers import ClusterSpec, TierSpec
from controlplane.domain.wire import field_errors
from controlplane.ports.stores.operations import NewItem, NewOperation
from controlplane.ports.stores.tenants import TenantEvent
from controlplane.ports.uow import UnitOfWork
from controlplane.services.problems import problem_of

MAX_LINES = 5_000


@dataclass
class Registry:
    """What a spec is checked against. `hosts` grows with each spec that passes."""

    tiers: Mapping[str, TierSpec]
    clusters: Mapping[str, ClusterSpec]
    apps: frozenset[str]
    hosts: dict[str, str] = field(default_factory=dict)


async def registry_for(uow: UnitOfWork, specs: Sequence[TenantSpec]) -> Registry:
    """Read what these specs refer to; holds off other onboardings that ask for hosts."""
    store = uow.tenants
    apps = {app for spec in specs for app in spec.apps}
    known = set(await store.config("apps")) | {release.app for release in await store.releases(apps)}
    hosts = await store.taken_hosts({host for spec in specs for host in spec.hosts()})
    return Registry(await store.tiers(), await store.clusters(), frozenset(known), hosts)


def check_spec(spec: TenantSpec, registry: Registry) -> None:
    """Refuse what refers to something that is not there or is somebody else's.

    Raises InvalidError `unknown-tier`, `unknown-cluster`, `unknown-app`, `cluster-dedicated`; ConflictError `host-taken`.
    """
    if spec.tier not in registry.tiers:
        raise _unknown("tier", spec.tier, "/tier", registry.tiers)
    for name, environment in spec.environments.present().items():
        pointer = f"/environments/{name}/cluster"
        if environment.cluster not in registry.clusters:
            raise _unknown("cluster", environment.cluster, pointer, registry.clusters)
        owner = registry.clusters[environment.cluster].dedicated_to
        if owner not in (None, spec.name):
            detail = f"Cluster {environment.cluster} is dedicated to another tenant. Choose another cluster."
            raise InvalidError(detail, code="cluster-dedicated", errors=[FieldError(pointer, "dedicated to another")])
    for app in spec.apps:
        if app not in registry.apps:
            raise _unknown("app", app, f"/apps/{app}", registry.apps)
    taken = [h for h in spec.hosts() if registry.hosts.get(h, spec.name) != spec.name]
    if taken:
        detail = f"Host {taken[0]} belongs to another tenant. Give each host to one tenant only."
        raise ConflictError(detail, code="host-taken")
    registry.hosts.update(dict.fromkeys(spec.hosts(), spec.name))


def _unknown(what: str, name: str, pointer: str, known: Mapping[str, Any] | frozenset[str]) -> InvalidError:
    some = ", ".join(sorted(known)[:10]) or "none yet"
    detail = f"There is no {what} {name!r}. Known: {some}. Create it with PUT /v1/{what}s/{name}."
    errors = [FieldError(pointer, f"no such {what}")]
    # Codes are written out, so that the reference of codes finds them.
    if what == "tier":
        return InvalidError(detail, code="unknown-tier", errors=errors)
    if what == "cluster":
        return InvalidError(detail, code="unknown-cluster", errors=errors)
    return InvalidError(detail, code="unknown-app", errors=errors)


def exists_already(name: str) -> ConflictError:
    """The name is reserved: once given, it is never given to another, also after offboarding."""
    detail = f"There is a tenant {name} already. Change it with PATCH /v1/tenants/{name}, or choose another name."
    return ConflictError(detail, code="tenant-exists")


async def onboard(uow: UnitOfWork, spec: TenantSpec, *, actor: str) -> uuid.UUID:
    """Reserve the name and accept the onboarding; returns the operation's id.

    Raises ConflictError `tenant-exists` and what `check_spec` raises; then nothing is reserved.
    """
    check_spec(spec, await registry_for(uow, [spec]))
    if spec.name not in await uow.tenants.add([spec]):
        raise exists_already(spec.name)
    return await _accept(uow, "onboard", {0: spec}, {}, actor)


async def batch_onboard(uow: UnitOfWork, body: bytes, *, actor: str) -> uuid.UUID:
    """Accept NDJSON, one tenant per line: bad lines are reported in the operation, good ones go on.

    Raises InvalidError `empty-batch`, `batch-too-large`.
    """
    lines = [(n, line) for n, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    if not lines:
        raise InvalidError("The batch holds no line. Send one tenant as JSON per line.", code="empty-batch")
    if len(lines) > MAX_LINES:
        detail = f"The batch has {len(lines)} lines; at most {MAX_LINES} go into one. Send the rest in another."
        raise InvalidError(detail, code="batch-too-large")
    batch = _Batch()
    for n, line in lines:
        batch.read(n, line)
    registry = await registry_for(uow, list(batch.good.values()))
    batch.keep_if(lambda spec: check_spec(spec, registry))
    added = await uow.tenants.add(list(batch.good.values()))
    batch.keep_if(lambda spec: _must_be_new(spec, added))
    return await _accept(uow, "batchOnboard", batch.good, batch.bad, actor)


@dataclass
class _Batch:
    """The lines of a batch: good ones by their number, bad ones with the name they gave, if any, and their problem."""

    good: dict[int, TenantSpec] = field(default_factory=dict)
    bad: dict[int, tuple[str, SeawallError]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def read(self, n: int, line: bytes) -> None:
        """Read a line. A name that came on an earlier line is taken."""
        try:
            spec = _spec_of(line)
        except InvalidError as error:
            self.bad[n] = ("", error)
            return
        if spec.name in self.names:
            self.bad[n] = (spec.name, exists_already(spec.name))
            return
        self.names.add(spec.name)
        self.good[n] = spec

    def keep_if(self, check: Callable[[TenantSpec], None]) -> None:
        """Move lines that a check refuses to the bad ones."""
        for n, spec in list(self.good.items()):
            try:
                check(spec)
            except SeawallError as error:
                del self.good[n]
                self.bad[n] = (spec.name, error)


def _spec_of(line: bytes) -> TenantSpec:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"The line is not JSON: {error}.", code="invalid-json") from error
    try:
        return TenantSpec.model_validate(content, by_alias=True, by_name=False)
    except ValidationError as error:
        found = field_errors(error)
        detail = f"The line is not a tenant: {found[0].pointer or '/'}: {found[0].detail}."
        raise InvalidError(detail, errors=found) from error


def _must_be_new(spec: TenantSpec, added: set[str]) -> None:
    if spec.name not in added:
        raise exists_already(spec.name)


async def _accept(
    uow: UnitOfWork,
    kind: OperationKind,
    good: Mapping[int, TenantSpec],
    bad: Mapping[int, tuple[str, SeawallError]],
    actor: str,
) -> uuid.UUID:
    """Write the operation with one item per environment, and one for each bad line, in the order of the lines."""
    items: list[NewItem] = []
    for n in sorted({*good, *bad}):
        line = {"line": n} if kind == "batchOnboard" else {}
        if n in good:
            items += [NewItem(good[n].name, e, line) for e in good[n].environments.present()]
        else:
            name, error = bad[n]
            items.append(NewItem(name, "", line, problem_of(error)))
    only = next(iter(good.values())).name if kind == "onboard" else None
    operation = NewOperation(uow.new_id(), kind, actor, tenant=only, spec={"lines": len(good) + len(bad)}, items=items)
    await uow.operations.add(operation)
    names = [spec.name for spec in good.values()]
    events = [TenantEvent(name, "onboardingAccepted", {"operation": str(operation.id)}) for name in names]
    await uow.tenants.record(events)
    detail = {"operation": str(operation.id), "tenants": names, "refused": len(bad)}
    await uow.audit(actor, f"tenants.{kind}", f"operation/{operation.id}", tenant=only, detail=detail)
    await uow.wake("operation", str(operation.id), tenant=only or "_fleet")
    return operation.id
