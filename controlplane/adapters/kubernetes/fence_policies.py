"""The two ValidatingAdmissionPolicies that make the cluster itself refuse a writer that has lost its environment.

`seawall-fence`: every write of Seawall's identities into a fenced namespace carries the writer's epoch in the request's
identity (`Impersonate-Extra-seawall.dev%2Fepoch`); the Namespace's annotation `seawall.dev/epoch` is the fence. Lower
epochs are refused: create, update, delete, subresources, the Namespace itself. It acts within the lag of the API
server's Namespace cache (milliseconds; each API server has its own).

`seawall-marks`: nobody else changes a `seawall.dev/` label or annotation, else a tenant could lift the fence, or set it
so high that Seawall is locked out.

Both fail closed, and both name identities one by one: an exemption of all `system:` users would exempt every
ServiceAccount, Seawall's own included. A new policy takes about a second to act: probe until it refuses.
Language: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.names import DOMAIN, EPOCH_ANNOTATION, FENCED_LABEL
from controlplane.ports.clusters import Manifest

FENCE_POLICY = "seawall-fence"
MARKS_POLICY = "seawall-marks"
IMPERSONATE_EPOCH = "Impersonate-Extra-" + EPOCH_ANNOTATION.replace("/", "%2F")
"""Header that carries the writer's epoch, next to `Impersonate-User`."""

_API = "admissionregistration.k8s.io/v1"

_CONTROLLERS = (
    # They copy a workload's or Service's annotations and labels to the objects they make of it.
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemon-set-controller",
    "job-controller",
    "cronjob-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
)
KUBERNETES_CONTROLLERS = (
    "system:kube-controller-manager",
    *(f"system:serviceaccount:kube-system:{name}" for name in _CONTROLLERS),
)
"""Users of the controllers that copy marks, with and without `--use-service-account-credentials`."""


@dataclass(frozen=True)
class FenceIdentities:
    """Who is fenced, and who may write marks.

    `platform`: full user names of Seawall's own ServiceAccounts. `deployer`: name of the ServiceAccount that applies a
    tenant's app, one in each tenant's namespace. `controllers`: users that copy marks from object to object.
    """

    platform: tuple[str, ...] = ("system:serviceaccount:seawall-system:seawall-worker",)
    deployer: str = "seawall-deployer"
    controllers: tuple[str, ...] = KUBERNETES_CONTROLLERS


def fence_policies(identities: FenceIdentities | None = None) -> list[Manifest]:
    """Both policies and their three bindings, in the order in which to apply them."""
    who = identities or FenceIdentities()
    return [
        _policy(FENCE_POLICY, _fence_spec(who)),
        _policy(MARKS_POLICY, _marks_spec(who)),
        _binding(FENCE_POLICY, "objects", _FENCED_OBJECTS),
        # Apart from the objects, because a namespaceSelector reads the *new* labels of a Namespace: with it, a stale
        # writer could take the label off and with it the fence.
        _binding(FENCE_POLICY, "namespaces", {"resourceRules": [_NAMESPACES]}),
        _binding(MARKS_POLICY, "all", None),
    ]


_WRITES = ["CREATE", "UPDATE", "DELETE"]
_OBJECTS = {
    "apiGroups": ["*"],
    "apiVersions": ["*"],
    "resources": ["*/*"],
    "operations": _WRITES,
    "scope": "Namespaced",
}
_NAMESPACES = {
    "apiGroups": [""],
    "apiVersions": ["*"],
    "resources": ["namespaces", "namespaces/*"],
    # Creating one has no fence yet: the operation's id on it says whose it is.
    "operations": ["UPDATE", "DELETE"],
    "scope": "Cluster",
}
_FENCED_OBJECTS = {"namespaceSelector": {"matchLabels": {FENCED_LABEL: "true"}}, "resourceRules": [_OBJECTS]}
_EXTRA = f"request.userInfo.extra['{EPOCH_ANNOTATION}']"
_HAS_EXTRA = f"has(request.userInfo.extra) && '{EPOCH_ANNOTATION}' in request.userInfo.extra && size({_EXTRA}) == 1"


def _fence_spec(who: FenceIdentities) -> Manifest:
    return {
        "matchConstraints": {"resourceRules": [_OBJECTS, _NAMESPACES]},
        "matchConditions": [{"name": "seawall-writes", "expression": f"{_platform(who)} || {_deployer(who)}"}],
        "variables": [
            {"name": "mine", "expression": f"{_HAS_EXTRA} ? int({_EXTRA}[0]) : -1"},
            {"name": "home", "expression": "namespaceObject != null ? dyn(namespaceObject) : dyn(oldObject)"},
            {"name": "fence", "expression": _epoch_of("variables.home")},
            {"name": "moves", "expression": "namespaceObject == null && request.operation == 'UPDATE'"},
            {"name": "next", "expression": f"variables.moves ? {_epoch_of('object')} : variables.fence"},
        ],
        "validations": [
            _validation("variables.mine >= 0", f"'the request carries no epoch ({IMPERSONATE_EPOCH})'"),
            _validation(
                "variables.mine >= variables.fence",
                "'fenced: this writer has epoch ' + string(variables.mine) + ', the namespace is sealed with ' + string(variables.fence)",
            ),
            _validation(
                "variables.next == variables.fence || variables.next == variables.mine",
                "'fenced: the fence may only be set to the epoch of the writer, ' + string(variables.mine)",
            ),
            _validation(
                "request.operation != 'DELETE' || (has(request.options.preconditions) && "
                "has(request.options.preconditions.uid) && has(request.options.preconditions.resourceVersion))",
                "'a delete must name uid and resourceVersion in its preconditions'",
            ),
        ],
    }


def _marks_spec(who: FenceIdentities) -> Manifest:
    events = {"apiGroups": ["", "events.k8s.io"], "apiVersions": ["*"], "resources": ["events"], "operations": ["*"]}
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["CREATE", "UPDATE"]}
    # A tenant with the role `edit` may impersonate its namespace's ServiceAccounts, but not add an epoch to them.
    ours = f"{_platform(who)} || {_listed(who.controllers)} || ({_deployer(who)} && {_HAS_EXTRA})"
    return {
        "matchConstraints": {"resourceRules": [rule], "excludeResourceRules": [events]},
        "matchConditions": [{"name": "others-write", "expression": f"!({ours})"}],
        "variables": [
            {"name": "newLabels", "expression": _map("object", "labels")},
            {"name": "oldLabels", "expression": _map("oldObject", "labels")},
            {"name": "newAnnotations", "expression": _map("object", "annotations")},
            {"name": "oldAnnotations", "expression": _map("oldObject", "annotations")},
        ],
        "validations": [
            _validation(_same_marks("Labels"), f"'only Seawall may change {DOMAIN}/ labels'"),
            _validation(_same_marks("Annotations"), f"'only Seawall may change {DOMAIN}/ annotations'"),
        ],
    }


def _policy(name: str, spec: Manifest) -> Manifest:
    body = {"failurePolicy": "Fail", **spec}
    return {"apiVersion": _API, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": body}


def _binding(policy: str, suffix: str, match: Manifest | None) -> Manifest:
    spec = {"policyName": policy, "validationActions": ["Deny"], **({"matchResources": match} if match else {})}
    metadata = {"name": f"{policy}-{suffix}"}
    return {"apiVersion": _API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": spec}


def _validation(expression: str, message: str) -> Manifest:
    # Of the three reasons allowed, Forbidden is the one that says who, not what.
    return {"expression": expression, "messageExpression": message, "reason": "Forbidden"}


def _platform(who: FenceIdentities) -> str:
    return _listed(who.platform)


def _listed(users: tuple[str, ...]) -> str:
    names = ", ".join(f"'{user}'" for user in users)
    return f"request.userInfo.username in [{names}]"


def _deployer(who: FenceIdentities) -> str:
    user = "request.userInfo.username"
    return f"({user}.startsWith('system:serviceaccount:') && {user}.endsWith(':{who.deployer}'))"


def _epoch_of(thing: str) -> str:
    """CEL: the fence that `thing` (a Namespace) carries; 0 before its first seal."""
    has = f"has({thing}.metadata.annotations) && '{EPOCH_ANNOTATION}' in {thing}.metadata.annotations"
    return f"({has} ? int({thing}.metadata.annotations['{EPOCH_ANNOTATION}']) : 0)"


def _map(thing: str, field: str) -> str:
    """CEL: labels or annotations of `thing`; empty when there is no such object (creates) or field."""
    present = f"{thing} != null && has({thing}.metadata) && has({thing}.metadata.{field})"
    return f"{present} ? dyn({thing}.metadata.{field}) : dyn({{}})"


def _same_marks(field: str) -> str:
    """CEL: every mark of the new object is as in the old one, and none went away."""
    new, old, prefix = f"variables.new{field}", f"variables.old{field}", f"{DOMAIN}/"
    kept = f"{new}.all(k, !k.startsWith('{prefix}') || (k in {old} && {old}[k] == {new}[k]))"
    return f"{kept} && {old}.all(k, !k.startsWith('{prefix}') || k in {new})"
