"""What every release format shares: its inputs, its signature, and the way from raw objects to `Rendered`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.manifests import (
    Manifest,
    MigrateJob,
    ObjectKey,
    Rendered,
    annotations_of,
    in_apply_order,
    key_of,
    leave_out_shared,
)
from controlplane.domain.shapes import shape_errors, without_nulls
from controlplane.domain.values import Values
from controlplane.domain.walls import WallRules, check_walls, refuse_crossings

KUBE_VERSION = "v1.33.0"
"""The version charts see in `.Capabilities` when nothing else is said: a constant, so that clusters don't differ."""

HOOK = "helm.sh/hook"
MIGRATE_HOOKS = frozenset({"pre-install", "pre-upgrade"})
TEST_HOOKS = frozenset({"test", "test-success", "test-failure"})
LATER_HOOKS = frozenset({"post-install", "post-upgrade", "pre-delete", "post-delete", "pre-rollback", "post-rollback"})


@dataclass(frozen=True)
class RenderInputs:
    """Everything an artifact's rendering may depend on.

    `values` are the effective values of all six layers (`MergedValues.values`, the release's images included);
    `allowed_custom` names the custom resources this environment may hold, as `group/Kind`; `hosts` are the only ones an
    Ingress of it may take (None: any); `shared_fields` are left out, as (kind, JSON pointer).
    """

    app: str
    namespace: str
    values: Values = field(default_factory=dict)
    kube_version: str = KUBE_VERSION
    allowed_custom: frozenset[str] = frozenset()
    hosts: frozenset[str] | None = None
    shared_fields: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class ArtifactInfo:
    """What an artifact says of itself: name and version for people, and the defaults that are the lowest layer of values."""

    name: str | None = None
    version: str | None = None
    defaults: Values = field(default_factory=dict)


class Format(Protocol):
    """One release format. All methods raise `InvalidError` with a code of the reference `release-formats.md`."""

    async def inspect(self, artifact: bytes) -> ArtifactInfo:
        """Read the artifact without rendering it; refuses what no values could make right."""
        ...

    async def check_values(self, artifact: bytes, values: Values) -> None:
        """Check effective values against the artifact's schema (code `values-refused`, a pointer per problem)."""
        ...

    async def render(self, artifact: bytes, inputs: RenderInputs) -> Rendered:
        """Render for one environment, inside the walls."""
        ...

    async def render_many(self, artifact: bytes, inputs: Sequence[RenderInputs]) -> list[Rendered | InvalidError]:
        """Render for many environments at once; one that fails does not fail the others."""
        ...


def build(documents: Iterable[dict[str, Any]], inputs: RenderInputs) -> Rendered:
    """Turn parsed documents (`source` and `object`) into content in apply order, and refuse what may not be in it."""
    objects: list[Manifest] = []
    jobs: list[MigrateJob] = []
    dropped: list[ObjectKey] = []
    for document in documents:
        for item in _flattened(document["object"]):
            manifest = _normalised(item, document["source"], inputs.namespace)
            hooks = _hooks_of(manifest)
            if not hooks:
                objects.append(manifest)
            elif hooks <= TEST_HOOKS:
                dropped.append(key_of(manifest))
            else:
                jobs.append(_migrate_job(manifest, hooks))
    _refuse_duplicates(objects)
    _refuse_plain_jobs(objects)
    kept, left_out = leave_out_shared(in_apply_order(objects), sorted(inputs.shared_fields))
    jobs.sort(key=lambda job: (job.weight, str(job.manifest["metadata"]["name"])))
    rendered = Rendered(objects=kept, jobs=tuple(jobs), left_out=left_out, dropped=tuple(dropped))
    if not rendered.objects:
        raise InvalidError(
            "It renders to no object at all. Check the values that switch things on.", code="renders-empty"
        )
    refuse_crossings(check_walls(rendered, WallRules(inputs.namespace, inputs.allowed_custom, inputs.hosts)))
    return rendered


def _flattened(document: dict[str, Any]) -> list[dict[str, Any]]:
    items = document.get("items")
    if document.get("kind") == "List" and isinstance(items, list):
        return [item for item in items if isinstance(item, dict)]
    return [document]


def _normalised(item: dict[str, Any], source: str, namespace: str) -> Manifest:
    try:
        manifest: Manifest = without_nulls(item)
    except ValueError as error:
        raise InvalidError(f"An object in {source} can't be used: {error}.", code="manifest-invalid") from error
    errors = shape_errors(manifest)
    if errors:
        metadata = manifest.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        where = f"{manifest.get('kind', 'an object without kind')}/{name or 'without name'} in {source}"
        raise InvalidError(
            f"{where} is not a Kubernetes object as its kind asks: {errors[0].pointer}: {errors[0].detail}.",
            code="manifest-invalid",
            errors=errors,
        )
    return {**manifest, "metadata": {"namespace": namespace, **manifest["metadata"]}}


def _hooks_of(manifest: Manifest) -> frozenset[str]:
    return frozenset(filter(None, re.split(r"[,\s]+", annotations_of(manifest).get(HOOK, ""))))


def _migrate_job(manifest: Manifest, hooks: frozenset[str]) -> MigrateJob:
    key = key_of(manifest)
    for hook in sorted(hooks - MIGRATE_HOOKS):
        raise _hook_error(key, hook, _why_not(hook))
    if key.kind != "Job":
        why = "only a Job can be a hook, because it is what the migrate step runs and waits for; make it a plain object"
        raise _hook_error(key, ", ".join(sorted(hooks)), why)
    weight = annotations_of(manifest).get("helm.sh/hook-weight", "0")
    if not re.fullmatch(r"-?\d{1,6}", weight):
        raise _hook_error(key, "helm.sh/hook-weight", f"{weight!r} is not a whole number")
    kept = {k: v for k, v in annotations_of(manifest).items() if not k.startswith(HOOK)}
    return MigrateJob(
        manifest={**manifest, "metadata": {**manifest["metadata"], "annotations": kept}},
        on_install="pre-install" in hooks,
        on_upgrade="pre-upgrade" in hooks,
        weight=int(weight),
    )


def _why_not(hook: str) -> str:
    if hook in LATER_HOOKS:
        return (
            "Seawall runs Jobs only before it applies (pre-install, pre-upgrade); after it, health is judged by the gates, "
            "and going back or leaving has steps of its own"
        )
    if hook in TEST_HOOKS:
        return "a test can't be part of a migration; give it an object of its own"
    return "it is not a hook Helm knows"


def _hook_error(key: ObjectKey, hook: str, why: str) -> InvalidError:
    return InvalidError(
        f"{key} is a hook that can't be honoured ({hook}): {why}.",
        code="chart-unknown-hook",
        errors=[FieldError(f"/{key}/metadata/annotations/helm.sh~1hook", why)],
    )


def _refuse_duplicates(objects: Sequence[Manifest]) -> None:
    seen: set[tuple[str, str, str]] = set()
    for item in objects:
        key = key_of(item)
        if key.identity in seen:
            raise InvalidError(
                f"{key} is rendered twice. Objects of one kind need names of their own.",
                code="duplicate-object",
                errors=[FieldError(f"/{key}", "rendered twice")],
            )
        seen.add(key.identity)


def _refuse_plain_jobs(objects: Sequence[Manifest]) -> None:
    for item in objects:
        if item["kind"] == "Job":
            key = key_of(item)
            raise InvalidError(
                f"{key} is a plain Job, which can't be applied again once it ran. Mark it with the annotation "
                f"{HOOK}: pre-install,pre-upgrade to make it a migration, or use a CronJob.",
                code="job-without-hook",
                errors=[FieldError(f"/{key}", "a Job is created once per step, never applied over")],
            )
