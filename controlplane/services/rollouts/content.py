"""What each target would be given: its effective values and the content they render to, cached by content.

Rendered content names the target's namespace, so no two tenants have the same bytes. Where several tenants share their
effective values and the chart only writes its namespace down, the release is rendered for two made-up namespaces that differ
in length and at both ends; if the second is the first with the name replaced, the same replacement makes every tenant's
content. A chart that does more with its namespace (asks for it, hashes it, cuts it) is rendered for each tenant.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.domain.apps import AppSpec
from controlplane.domain.errors import InvalidError
from controlplane.domain.manifests import Rendered
from controlplane.domain.names import canonical_json, digest_of
from controlplane.domain.priorities import with_class
from controlplane.domain.releases import ReleaseSpec, image_values
from controlplane.domain.targets import TargetProblem
from controlplane.domain.values import Layer, Values, merge_layers
from controlplane.domain.walls import check_hosts
from controlplane.formats import Format, RenderInputs, format_for
from controlplane.formats.namespaces import only_writes_namespace

_PLACEHOLDERS = ("q4f81c06e", "zz-namespace-of-nobody-9d27b3a5e0c14466-that-stands-in-for-othx")
"""The second has 63 characters, the most a namespace may have, so that whatever cuts a name with it in cuts this one."""
_SHARED_FROM = 4
"""From so many tenants with equal values on, two made-up renderings are fewer than one for each."""


@dataclass(frozen=True)
class Template:
    """Rendered content with a stand-in for the namespace, as canonical JSON: what is hashed, and what is stored."""

    rendered: Rendered
    namespace: str
    hashed: str
    stored: str

    @classmethod
    def of(cls, rendered: Rendered, namespace: str) -> Template:
        """Write a rendering as the two texts. The hashed one is that of `Rendered.content_hash`."""
        dumped = rendered.model_dump(mode="json")
        hashed = canonical_json({"objects": dumped["objects"], "jobs": dumped["jobs"]}).decode()
        return cls(rendered, namespace, hashed, canonical_json(dumped).decode())

    def hash_for(self, namespace: str) -> str:
        """The content's hash in this namespace."""
        text = self.hashed.replace(self.namespace, namespace)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def body_for(self, namespace: str) -> bytes:
        """The content's body in this namespace: zlib-compressed canonical JSON."""
        return zlib.compress(self.stored.replace(self.namespace, namespace).encode(), 1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target to render for, with its own layers of values (tier, cluster, tenant, environment).

    `priority`: the PriorityClass that its walls give to its pods; empty: none.
    """

    tenant: str
    namespace: str
    layers: Mapping[Layer, Values]
    hosts: frozenset[str] = frozenset()
    priority: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """What a target would be given. `values` are the effective ones, under the hash that names them.

    `template` None: the content is stored already (an earlier revision's).
    """

    content: str
    version: str
    values_hash: str
    values: Mapping[str, Any]
    template: Template | None = None
    namespace: str = ""

    def body(self) -> bytes | None:
        """The content's body to store; None if it is stored already."""
        return self.template.body_for(self.namespace) if self.template else None


@dataclass(frozen=True)
class _Shared:
    """Tenants with equal effective values."""

    members: list[Wanted]
    effective: Values
    values_hash: str
    priority: str = ""


async def contents_for(
    spec: ReleaseSpec, artifact: bytes, wanted: Sequence[Wanted], app: AppSpec
) -> dict[str, Given | TargetProblem]:
    """Render a release for many targets; a target whose values or content are refused gets the reason instead."""
    chosen = format_for(spec.source.format)
    info = await chosen.inspect(artifact)
    base = {Layer.CHART: info.defaults, Layer.RELEASE: image_values(spec.images)}
    shareable = only_writes_namespace(spec.source.format, artifact)
    work = _Rendering(chosen, artifact, spec, app)
    # Work that grows with the fleet runs in threads, so that this process answers others meanwhile.
    groups = await asyncio.to_thread(_by_values, wanted, base)
    return await work.all(groups, _SHARED_FROM if shareable else len(wanted) + 1)


def _by_values(wanted: Sequence[Wanted], base: Mapping[Layer, Values]) -> list[_Shared]:
    """Merge each distinct set of layers once, then join sets that came out equal."""
    same_layers: defaultdict[bytes, list[Wanted]] = defaultdict(list)
    for one in wanted:
        same_layers[canonical_json([one.priority, {str(k): v for k, v in one.layers.items()}])].append(one)
    found: dict[tuple[str, str], _Shared] = {}
    for members in same_layers.values():
        layers = {**base, **members[0].layers}
        effective = merge_layers(layers).values
        values_hash, priority = digest_of(effective), members[0].priority
        if (values_hash, priority) in found:
            found[values_hash, priority].members.extend(members)
            continue
        found[values_hash, priority] = _Shared(list(members), effective, values_hash, priority)
    return list(found.values())


@dataclass(frozen=True)
class _Rendering:
    """One release, rendered for groups of targets."""

    chosen: Format
    artifact: bytes
    spec: ReleaseSpec
    app: AppSpec

    async def all(self, groups: Sequence[_Shared], shared_from: int) -> dict[str, Given | TargetProblem]:
        """Render shared groups with stand-ins, then whoever is left one by one; two batches at most."""
        result: dict[str, Given | TargetProblem] = {}
        alone = [(g, m) for g in groups if len(g.members) < shared_from for m in g.members]
        shared = [g for g in groups if len(g.members) >= shared_from]
        outcomes = await self._render([self._inputs(g, name) for g in shared for name in _PLACEHOLDERS])
        for group, first, second in zip(shared, outcomes[::2], outcomes[1::2], strict=True):
            template = _template(_prioritised(first, group), _prioritised(second, group))
            if template is not None:
                result |= await asyncio.to_thread(self._given_to_all, group, template)
            elif isinstance(first, InvalidError) and first.code == "values-refused":
                result |= dict.fromkeys((m.tenant for m in group.members), TargetProblem(first.code, first.detail))
            else:
                alone += [(group, member) for member in group.members]
        outcomes = await self._render([self._inputs(g, m.namespace) for g, m in alone])
        for (group, member), outcome in zip(alone, outcomes, strict=True):
            if isinstance(outcome, InvalidError):
                result[member.tenant] = TargetProblem(outcome.code, outcome.detail)
            else:
                rendered = with_class(outcome, group.priority)
                result[member.tenant] = self._given(group, member, Template.of(rendered, member.namespace))
        return result

    async def _render(self, inputs: Sequence[RenderInputs]) -> list[Rendered | InvalidError]:
        return await self.chosen.render_many(self.artifact, inputs) if inputs else []

    def _inputs(self, group: _Shared, namespace: str) -> RenderInputs:
        return RenderInputs(
            self.spec.app,
            namespace,
            group.effective,
            allowed_custom=frozenset(self.app.custom_kinds),
            shared_fields=frozenset((field.kind, field.pointer) for field in self.app.shared_fields),
        )

    def _given_to_all(self, group: _Shared, template: Template) -> dict[str, Given | TargetProblem]:
        return {member.tenant: self._given(group, member, template) for member in group.members}

    def _given(self, group: _Shared, member: Wanted, template: Template) -> Given | TargetProblem:
        foreign = check_hosts(template.rendered, member.hosts)
        if foreign:
            return TargetProblem(foreign[0].code, str(foreign[0]))
        return Given(
            template.hash_for(member.namespace),
            self.spec.version,
            group.values_hash,
            group.effective,
            template,
            member.namespace,
        )


def _prioritised(outcome: Rendered | InvalidError, group: _Shared) -> Rendered | InvalidError:
    return with_class(outcome, group.priority) if isinstance(outcome, Rendered) else outcome


def _template(first: Rendered | InvalidError, second: Rendered | InvalidError) -> Template | None:
    """The template of a shared group, or None where a replacement would not be the same as rendering."""
    if not isinstance(first, Rendered) or not isinstance(second, Rendered):
        return None
    one, two = Template.of(first, _PLACEHOLDERS[0]), Template.of(second, _PLACEHOLDERS[1])
    same = one.stored.replace(*_PLACEHOLDERS) == two.stored and one.hashed.replace(*_PLACEHOLDERS) == two.hashed
    return one if same else None
