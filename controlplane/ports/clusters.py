"""A cluster: where tenants' namespaces live. Every mutating call is fenced by the environment's epoch.

Implementations (one contract suite runs against each): `controlplane.adapters.kubernetes`, `controlplane.adapters.simulated`.

How the fence works: taking an environment starts with `seal`, which writes the new epoch on the Namespace. Every later
mutating call carries its own epoch, and the cluster refuses it (`FencedError`) when the Namespace's is higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from controlplane.domain.apps import Dependency
from controlplane.domain.capacity import Room
from controlplane.domain.disturbance import Circumstances, Nodes
from controlplane.domain.errors import ConflictError, DependencyError, SeawallError
from controlplane.domain.health import WorkloadState

type Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""

type Identity = Literal["platform", "deployer"]
"""Who writes: `platform` builds walls (ServiceAccount of Seawall's worker); `deployer` applies a tenant's app and is the
ServiceAccount `seawall-deployer` of the tenant's own namespace, so that a chart can't write elsewhere."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The writer's right: the epoch its lease gave to this environment, and the step and revision it writes for."""

    epoch: int
    step_id: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object of a namespace. Deletes name `uid` and `resource_version`; reads need neither."""

    api_version: str
    kind: str
    name: str
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A Namespace as last seen. `epoch` is the seal, 0 if never sealed."""

    name: str
    uid: str
    epoch: int
    terminating: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What the cluster answered to a write.

    `changed`: the write moved the resourceVersion. `taken_from`: field path -> manager that lost the field to us.
    """

    ref: ObjectRef
    generation: int
    changed: bool
    taken_from: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamespaceChange:
    """Something in a namespace changed in the cache, or (`liveness`) a watch stopped or started to be proven live."""

    cluster: str
    namespace: str
    kind: str = ""
    name: str = ""
    liveness: bool = False


@dataclass(frozen=True, slots=True)
class DriftSign:
    """Somebody else may have written a marked object (`by`: as which field manager), or it was deleted by anybody (`by` empty)."""

    cluster: str
    namespace: str
    kind: str
    name: str
    by: str = ""


class FencedError(ConflictError):
    """The cluster refused a write: the Namespace carries a higher epoch than the writer's."""

    code = "fenced"
    title = "Another writer has taken this environment"


class NamespaceGoneError(ConflictError):
    """The namespace is missing, terminating, or another one (uid) under the same name; `code` says which:
    `namespace-missing`, `namespace-terminating`, `namespace-replaced`.
    """

    code = "namespace-missing"
    title = "The tenant's namespace is not the one Seawall knows"


class QuotaExceededError(ConflictError):
    """A ResourceQuota of the namespace refused the object."""

    code = "quota-exceeded"
    title = "The namespace's quota is full"


class AlreadyExistsError(ConflictError):
    """An object of this name exists and is not the one this step created."""

    code = "already-exists"
    title = "An object of this name exists"


class RejectedError(SeawallError):
    """The API server refused the object itself (invalid, immutable field, Pod Security, no right): repeating is useless.

    `code` is `rejected`, `immutable-field`, or `not-permitted`.
    """

    status = 422
    code = "rejected"
    title = "The cluster refused the object"


class ClusterUnavailableError(DependencyError):
    """Timeout, connection error, 429 or 5xx: the outcome of a write is unknown; look before repeating.

    `code` is `cluster-unavailable`, `cluster-busy` (429; `retry_after` in seconds is set), `cluster-unauthorized`, or `object-busy`
    (others write the object faster than we can name its version); `sent` says whether the request may
    have reached the server.
    """

    code = "cluster-unavailable"
    title = "The cluster's API server does not answer"

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server; if not, repeating it is safe."""
        return bool(self.extra.get("sent", True))


class Cluster(Protocol):
    """One cluster. All calls are safe to make at once from many tasks; each mutating call ends within 5 s or raises."""

    @property
    def name(self) -> str:
        """The cluster's name in the registry."""
        ...

    @property
    def kind(self) -> str:
        """`kubernetes` or `simulated`: shown on every screen."""
        ...

    async def start(self) -> None:
        """Connect and start one watch per kind on marked objects, and the heartbeat that proves each live."""
        ...

    async def close(self) -> None:
        """Stop the watches and close connections."""
        ...

    async def install(self) -> None:
        """Write what the cluster needs once (fence policies, ServiceAccounts, heartbeat objects); idempotent. Needs an administrator."""
        ...

    async def prove_fence(self) -> None:
        """Have both admission policies refuse a probe, now; raises `DependencyError` (`fence-unproven`) if either lets it through.

        A worker dispatches to a cluster only after this passed in its own process.
        """
        ...

    def live(self) -> bool:
        """Whether every watch has echoed its heartbeat within 15 s: only then does a look at the cache count as a sample."""
        ...

    def subscribe(self, on_change: Callable[[NamespaceChange], None]) -> Callable[[], None]:
        """Call `on_change` in the event loop for each change of the cache; returns the call that ends it."""
        ...

    def listen_for_drift(self, on_sign: Callable[[DriftSign], None]) -> Callable[[], None]:
        """Call `on_sign` in the event loop for each sign that a marked object is not as we wrote it; returns the call that ends it.

        Signs come from watches, which the first listener starts for the kinds that nothing else needs; what is already known is told at
        once. A sign is no proof: compare the object. Writes by our own field manager give none, deletions always do.
        """
        ...

    async def absent(self, namespace: str, objects: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]] | None:
        """Of these marked objects, (kind, name), those that the watches do not see in the namespace; kinds that none watches are left out.

        None: a watch has not listed yet, so nothing is known. A real cluster is not called for it. Raises `ClusterUnavailableError`.
        """
        ...

    def workloads(self, namespace: str) -> dict[tuple[str, str], WorkloadState]:
        """Marked workloads and Jobs of a namespace from the cache, keyed by (kind, name). No I/O."""
        ...

    def namespace(self, name: str) -> NamespaceView | None:
        """A marked Namespace from the cache. No I/O."""
        ...

    def namespaces(self) -> list[NamespaceView]:
        """All marked Namespaces from the cache, by name. No I/O."""
        ...

    def quota(self, namespace: str) -> Mapping[str, tuple[Decimal, Decimal]] | None:
        """(used, hard) per resource of the namespace's marked ResourceQuotas, in cores, bytes and pieces; None: none is seen.

        Where several limit one resource, the one with the least room. From the cache, no I/O.
        """
        ...

    async def room(self) -> Room | None:
        """What the nodes have free for more pods, at most some seconds old. None: this cluster has no nodes to ask (simulated).

        Raises `ClusterUnavailableError`.
        """
        ...

    async def read_namespace(self, name: str) -> NamespaceView | None:
        """Read the Namespace itself, marked or not; None if there is none."""
        ...

    async def create_namespace(
        self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> NamespaceView:
        """Create the Namespace. An existing one raises `AlreadyExistsError` unless its `seawall.dev/operation` and
        `seawall.dev/installation` annotations equal ours (then it is returned: our own earlier try).
        """
        ...

    async def seal(
        self, namespace: str, uid: str, fence: Fence, labels: Mapping[str, str] | None = None
    ) -> NamespaceView:
        """Write the epoch on the Namespace (and, if given, labels such as the Pod Security ones) in one PATCH.

        Raises `FencedError` if the Namespace holds a higher one, `NamespaceGoneError` if its uid is another.
        """
        ...

    async def ensure_priority_class(self, manifest: Manifest) -> None:
        """Create a PriorityClass; one that is there with the same value is left as it is. Cluster-wide, hence without a fence.

        Raises `AlreadyExistsError` if it is there with another value, which can't be changed.
        """
        ...

    async def apply(self, namespace: str, manifest: Manifest, fence: Fence, identity: Identity = "deployer") -> Applied:
        """Apply server-side as field manager `seawall`, forced. Also for StatefulSets, Services, ... anything but Jobs.

        A field leaves us only by handover: `replicas` that a manifest no longer names (an autoscaler is to have them) keep their value.
        """
        ...

    async def create(
        self, namespace: str, manifest: Manifest, fence: Fence, identity: Identity = "deployer"
    ) -> Applied:
        """Create an object with a deterministic name (Jobs, with `names.JOB_FINALIZER`). One that exists with the same
        `seawall.dev/step` annotation is returned as it is, `changed=False`; any other raises `AlreadyExistsError`.
        """
        ...

    async def delete(self, namespace: str, ref: ObjectRef, fence: Fence, identity: Identity = "deployer") -> bool:
        """Delete by uid and resourceVersion (read first if they are empty). False: it was gone already."""
        ...

    async def delete_namespace(self, namespace: str, uid: str, fence: Fence) -> bool:
        """Delete the Namespace with this uid (offboarding). False: it was gone already."""
        ...

    async def release_finalizer(
        self, namespace: str, ref: ObjectRef, fence: Fence, identity: Identity = "deployer"
    ) -> None:
        """Take Seawall's finalizer off a Job, once its outcome is committed."""
        ...

    async def get(self, namespace: str, ref: ObjectRef) -> Manifest | None:
        """Read one object from the API server, not from the cache."""
        ...

    async def list_objects(self, namespace: str, kinds: Sequence[tuple[str, str]]) -> list[Manifest]:
        """List all objects of the (apiVersion, kind) pairs in a namespace, marked or not (observation, inventory)."""
        ...

    async def dry_run(self, namespace: str, manifest: Manifest) -> None:
        """Server-side dry run of an apply as `deployer`; raises as `apply` would (immutable fields, Pod Security, quota).

        It carries the epoch that the Namespace has now, so it needs no lease and changes nothing.
        """
        ...

    async def explain(self, namespace: str, expected: Sequence[tuple[str, str]]) -> str:
        """One sentence on why these (kind, name) workloads aren't healthy, from pods and events, e.g.
        `web not ready, CrashLoopBackOff on the new revision`.
        """
        ...

    def nodes(self) -> Nodes:
        """The cluster's nodes, and those deleted within the last minutes. From a watch, no I/O."""
        ...

    async def circumstances(self, namespace: str, dependencies: Sequence[Dependency]) -> Circumstances:
        """What surrounds a namespace's pods now: their nodes, the pods beside those that are not ready, declared dependencies."""
        ...

    async def version(self) -> str:
        """The API server's version, e.g. `v1.36.2` (or `simulated`)."""
        ...


class Clusters(Protocol):
    """All clusters this process may dispatch to, by name."""

    async def get(self, name: str) -> Cluster:
        """The started cluster of this name; raises `DependencyError` (`cluster-not-configured`) if there is none."""
        ...

    def peek(self, name: str) -> Cluster | None:
        """The cluster if it is started, without starting it."""
        ...

    async def close(self) -> None:
        """Close all that were started."""
        ...
