"""The external work of one phase of one target: which objects, in which order. Pure, so that a successor finds the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from controlplane.domain.manifests import (
    InventoryItem,
    ObjectKey,
    Rendered,
    job_for_step,
    key_of,
    prune_back,
    prune_forward,
)

type Verb = Literal["seal", "apply", "create", "delete"]
type DeliveryKind = Literal["apply"]
"""How a release reaches a cluster. `apply`: Seawall writes the objects itself."""
_STEPS = uuid.UUID("5ea3a11d-5ea3-4a11-8d5e-a3a11d5ea3a1")


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One fenced external effect. `manifest` for apply and create, `uid` for delete (empty: read it first)."""

    verb: Verb
    api_version: str
    kind: str
    name: str
    manifest: dict[str, Any] | None = None
    uid: str = ""

    @property
    def fence(self) -> str:
        """How a second writer is kept out: by the cluster's fence, or (Jobs) by a name the server gives only once."""
        return "name" if self.verb == "create" else "cluster"


@dataclass(frozen=True, slots=True)
class Work:
    """What one phase does, in order; the ledger has one row per item. `left_over`: what a prune leaves for a person."""

    step_id: uuid.UUID
    phase: str
    items: tuple[WorkItem, ...]
    left_over: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What a revision gave an environment: its content, and what it has in the cluster."""

    revision: int
    rendered: Rendered
    inventory: tuple[InventoryItem, ...] = field(default=())


SEAL = WorkItem("seal", "v1", "Namespace", "")


def step_id(rollout: str, tenant: str, attempt: int, phase: str) -> uuid.UUID:
    """The id of a phase's step: the same for whoever drives it (UUIDv5, RFC 9562)."""
    return uuid.uuid5(_STEPS, f"{rollout}/{tenant}/{attempt}/{phase}")


def migrate_work(step: uuid.UUID, new: Rendered, *, installs: bool) -> Work:
    """The migration's Jobs, one after the other; empty without any for this case."""
    jobs = [job for job in new.jobs if (job.on_install if installs else job.on_upgrade)]
    items = [_create(job_for_step(job, step.hex[:12])) for job in jobs]
    return Work(step, "migrate", (SEAL, *items) if items else ())


def apply_work(step: uuid.UUID, new: Rendered, old: Given | None, *, whole: bool) -> Work:
    """What must be applied to go from `old` to `new`: what differs, or everything if the old state is in doubt (`whole`)."""
    have = {} if old is None or whole else {key_of(item): item for item in old.rendered.objects}
    changed = [item for item in new.objects if have.get(key_of(item)) != item]
    return Work(step, "apply", (SEAL, *(_apply(item) for item in changed)))


def prune_work(step: uuid.UUID, new: Rendered, old: Given | None) -> Work:
    """What the old revision had and the new one has not; done only after the new one is verified."""
    prune = prune_forward(old.inventory if old else (), new.object_keys())
    deletes = _deletes(prune.delete)
    left_over = tuple(item.key for item in prune.left_over)
    return Work(step, "prune", (SEAL, *deletes) if deletes else (), left_over)


def back_work(step: uuid.UUID, bad: Given, good: Given) -> Work:
    """The way back: what only the bad revision had goes at once, workloads first; then what differs is as it was."""
    inventory = bad.inventory or bad.rendered.inventory()
    prune = prune_back(inventory, good.rendered.object_keys())
    have = {key_of(item): item for item in bad.rendered.objects}
    changed = [_apply(item) for item in good.rendered.objects if have.get(key_of(item)) != item]
    return Work(step, "back", (SEAL, *_deletes(prune.delete), *changed), tuple(item.key for item in prune.left_over))


def workloads(objects: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """(kind, name) of the objects whose health says whether a revision works."""
    return [(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] in JUDGED]


JUDGED = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def _apply(manifest: dict[str, Any]) -> WorkItem:
    return WorkItem("apply", manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], manifest)


def _create(manifest: dict[str, Any]) -> WorkItem:
    return WorkItem("create", manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"], manifest)


def _deletes(items: Sequence[InventoryItem]) -> list[WorkItem]:
    return [WorkItem("delete", i.key.api_version, i.key.kind, i.key.name, uid=i.uid or "") for i in items]
