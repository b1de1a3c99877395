"""After a failover or a restored backup: what the clusters say against what the registry still knows. Pure.

Every writer seals its environment before it writes (`seawall.dev/epoch`, step, revision on the Namespace). So where the registry lost
committed transactions, the seal is ahead of it, or names a step it has never heard of.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from controlplane.domain.adoption import OBSERVED_KINDS
from controlplane.domain.manifests import (
    Manifest,
    ObjectKey,
    Rendered,
    annotations_of,
    in_apply_order,
    key_of,
    never_pruned,
)
from controlplane.domain.names import APP_LABEL, CONTENT_ANNOTATION, DOMAIN
from controlplane.domain.work import step_id

type Kind = Literal[
    "epoch-behind", "change-unknown", "revision-unknown", "namespace-missing", "namespace-replaced", "tenant-unknown"
]

SAYS: Final[Mapping[Kind, str]] = {
    "epoch-behind": "The seal is higher than the registry knew; the step it names is known, or will be repeated.",
    "change-unknown": "The seal names a change that the registry lost; the apps' objects are as the registry has them.",
    "revision-unknown": "An app runs what the registry has never heard of; it is now a revision, not verified.",
    "namespace-missing": "The namespace is not in the cluster; its targets are deferred.",
    "namespace-replaced": "Another namespace stands under the name; its targets are deferred.",
    "tenant-unknown": "A namespace of this installation belongs to no tenant in the registry; nothing touches it. Onboarding takes it back.",
}
"""What each difference means, and what became of it."""

_PHASES = ("migrate", "apply", "back", "prune")
_NOT_REBUILT = frozenset({"Secret", "Job", "ResourceQuota", "LimitRange", "NetworkPolicy", "Role", "RoleBinding"})
"""Walls, what has an end, and what may not be copied."""
REBUILT_KINDS: Final = tuple(pair for pair in OBSERVED_KINDS if pair[1] not in _NOT_REBUILT)
"""What is read to rebuild a revision. Custom kinds are left alone: their objects stay, and stay unknown."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a Namespace says of its last writer. `installation`: whose it is."""

    namespace: str
    uid: str
    epoch: int
    step: str
    revision: str
    installation: str = ""


@dataclass(frozen=True, slots=True)
class KnownEnvironment:
    """An environment as the registry has it. `steps`: those it knows of, and those that unfinished rollouts would issue (again)."""

    tenant: str
    environment: str
    namespace: str
    uid: str | None
    epoch: int
    steps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding. `tenant` is empty for a namespace of nobody; `revision`: the number of a rebuilt one."""

    kind: Kind
    namespace: str
    tenant: str = ""
    environment: str = ""
    app: str = ""
    registry_epoch: int = 0
    seal_epoch: int = 0
    step: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class RunningApp:
    """An app of an environment: its newest revision's number, the one it runs (0: none), and that one's content as it is applied."""

    app: str
    last_number: int
    revision: int
    objects: Sequence[Manifest] = ()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A revision made from what the cluster runs."""

    app: str
    revision: int
    base: int
    rendered: Rendered
    uids: Mapping[ObjectKey, str]


def steps_of(candidates: Iterable[tuple[str, str, int]]) -> frozenset[str]:
    """The ids of all steps that these (rollout, tenant, attempt) may issue: a driver repeats them under the same ids."""
    return frozenset(
        str(step_id(rollout, tenant, attempt, phase)) for rollout, tenant, attempt in candidates for phase in _PHASES
    )


def compare(known: Iterable[KnownEnvironment], seals: Mapping[str, Seal], installation: uuid.UUID) -> list[Difference]:
    """Compare a cluster's seals, by namespace, with the environments that the registry has there.

    `change-unknown` is preliminary: whether an app runs something unknown takes a look at its objects (`rebuild`).
    """
    found: list[Difference] = []
    mine = {environment.namespace: environment for environment in known}
    for environment in mine.values():
        difference = _of_environment(environment, seals.get(environment.namespace))
        if difference is not None:
            found.append(difference)
    found += [
        Difference("tenant-unknown", seal.namespace, seal_epoch=seal.epoch, step=seal.step)
        for seal in seals.values()
        if seal.namespace not in mine and seal.installation == str(installation)
    ]
    return sorted(found, key=lambda one: one.namespace)


def _of_environment(environment: KnownEnvironment, seal: Seal | None) -> Difference | None:
    at = (environment.namespace, environment.tenant, environment.environment)
    if environment.uid is None:
        return None  # its namespace was never made, as far as the registry knows; onboarding finds out by itself
    if seal is None:
        return Difference("namespace-missing", *at, registry_epoch=environment.epoch)
    found = Difference("namespace-replaced", *at, "", environment.epoch, seal.epoch, seal.step)
    if seal.uid != environment.uid:
        return found
    if seal.epoch <= environment.epoch:
        return None
    known = seal.step in environment.steps
    return replace(found, kind="epoch-behind" if known else "change-unknown")


def rebuild(app: RunningApp, found: Iterable[Manifest], sealed_revision: str) -> Rebuilt | None:
    """Make a revision of what an app runs, from the objects of its namespace; None if that is what the registry has.

    Compares the content annotations: what Seawall applied says by itself what it is. What is never pruned may be left over from
    long ago and says nothing. The number is the one the lost revision had, if the seal tells.
    """
    mine = [
        o
        for o in found
        if (o["metadata"].get("labels") or {}).get(APP_LABEL) == app.app and o["kind"] not in _NOT_REBUILT
    ]
    wanted = {key_of(o).identity: _content_of(o) for o in app.objects if _comparable(o)}
    runs = {key_of(o).identity: _content_of(o) for o in mine}
    left_over = {key_of(o).identity for o in mine if never_pruned(o)} - wanted.keys()
    if wanted == {identity: content for identity, content in runs.items() if identity not in left_over}:
        return None
    number = max(app.last_number + 1, int(sealed_revision) if sealed_revision.isdecimal() else 0)
    rendered = Rendered(objects=in_apply_order(_plain(o) for o in mine))
    uids = {key_of(o): str(o["metadata"].get("uid", "")) for o in mine}
    return Rebuilt(app.app, number, app.revision, rendered, uids)


def _comparable(item: Manifest) -> bool:
    kinds: Collection[str] = {kind for _, kind in REBUILT_KINDS}
    return item["kind"] in kinds


def _content_of(item: Manifest) -> str:
    return annotations_of(item).get(CONTENT_ANNOTATION, "")


def _plain(item: Manifest) -> Manifest:
    """An object as a release could hold it: without what the server wrote, and without our marks."""
    meta: dict[str, Any] = item["metadata"]
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if not k.startswith(f"{DOMAIN}/")}
    annotations = {
        k: v for k, v in annotations_of(item).items() if not k.startswith((f"{DOMAIN}/", "deployment.kubernetes.io/"))
    }
    kept = {"name": meta["name"], **({"namespace": meta["namespace"]} if "namespace" in meta else {})}
    kept |= {**({"labels": labels} if labels else {}), **({"annotations": annotations} if annotations else {})}
    return {k: v for k, v in item.items() if k not in ("metadata", "status")} | {"metadata": kept}
