"""What refusals mean, with the words of kube-apiserver 1.36."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from controlplane.adapters.kubernetes.errors import Refusal, field_conflicts, read_refusal, to_error
from controlplane.domain.errors import SeawallError
from controlplane.ports.clusters import (
    AlreadyExistsError,
    ClusterUnavailableError,
    FencedError,
    NamespaceGoneError,
    QuotaExceededError,
    RejectedError,
)

FENCED = (
    "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'seawall-fence' with binding 'seawall-fence-objects' denied request: "
    "fenced: this writer has epoch 1, the namespace is sealed with 2"
)
MARKS = (
    "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'seawall-marks' with binding 'seawall-marks-all' denied request: "
    "only Seawall may change seawall.dev/ labels"
)
QUOTA = 'pods "x" is forbidden: exceeded quota: tier, requested: pods=1, used: pods=2, limited: pods=2'
RBAC = (
    'configmaps "x" is forbidden: User "system:serviceaccount:a:b" cannot create resource "configmaps" in API group ""'
)
IMMUTABLE = 'Job.batch "x" is invalid: spec.template: Invalid value: {}: field is immutable'
STATEFUL = (
    'StatefulSet.apps "x" is invalid: spec: Forbidden: updates to statefulset spec for fields other than '
    "'replicas', 'ordinals', 'template' are forbidden"
)


def cause(reason: str, message: str = "", field: str = "") -> dict[str, Any]:
    return {"causes": [{"reason": reason, "message": message, "field": field}]}


@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (Refusal(403, "Forbidden", FENCED), FencedError, "fenced"),
        (Refusal(403, "Forbidden", MARKS), RejectedError, "not-permitted"),
        (Refusal(403, "Forbidden", QUOTA), QuotaExceededError, "quota-exceeded"),
        (Refusal(403, "Forbidden", "status unknown for quota: tier"), ClusterUnavailableError, "cluster-unavailable"),
        (Refusal(403, "Forbidden", "x", cause("NamespaceTerminating")), NamespaceGoneError, "namespace-terminating"),
        (Refusal(403, "Forbidden", RBAC), RejectedError, "not-permitted"),
        (Refusal(403, "Forbidden", 'violates PodSecurity "restricted:latest"'), RejectedError, "not-permitted"),
        (
            Refusal(404, "NotFound", 'namespaces "a" not found', {"kind": "namespaces"}),
            NamespaceGoneError,
            "namespace-missing",
        ),
        (Refusal(404, "NotFound", "the server could not find the requested resource"), RejectedError, "rejected"),
        (Refusal(409, "AlreadyExists", 'jobs "x" already exists'), AlreadyExistsError, "already-exists"),
        (Refusal(409, "Conflict", "the object has been modified"), ClusterUnavailableError, "object-busy"),
        (Refusal(422, "Invalid", IMMUTABLE), RejectedError, "immutable-field"),
        (Refusal(422, "Invalid", STATEFUL), RejectedError, "immutable-field"),
        (
            Refusal(422, "Invalid", "x", cause("FieldValueInvalid", "field is immutable")),
            RejectedError,
            "immutable-field",
        ),
        (Refusal(422, "Invalid", "spec.template.spec.containers: Required value"), RejectedError, "rejected"),
        (Refusal(400, "BadRequest", "strict decoding error"), RejectedError, "rejected"),
        (Refusal(413, "RequestEntityTooLarge", "limit is 3145728"), RejectedError, "rejected"),
        (Refusal(429, "TooManyRequests", "too many"), ClusterUnavailableError, "cluster-busy"),
        (Refusal(401, "Unauthorized", "Unauthorized"), ClusterUnavailableError, "cluster-unauthorized"),
        (Refusal(500, "InternalError", "etcdserver: leader changed"), ClusterUnavailableError, "cluster-unavailable"),
        (Refusal(504, "Timeout", "request did not complete"), ClusterUnavailableError, "cluster-unavailable"),
    ],
)
def test_a_refusal_is_told_by_its_cause(refusal: Refusal, kind: type[SeawallError], code: str) -> None:
    error = to_error(refusal, "apply ConfigMap x in a")
    assert type(error) is kind
    assert error.code == code
    assert "apply ConfigMap x in a" in error.detail


def test_a_name_that_mentions_the_fence_is_not_taken_for_its_refusal() -> None:
    message = 'configmaps "fenced" is forbidden: User "seawall-fence" cannot create resource'
    assert isinstance(to_error(Refusal(403, "Forbidden", message), "x"), RejectedError)


def test_only_a_refusal_before_the_work_began_says_that_nothing_was_sent() -> None:
    sent = {status: to_error(Refusal(status), "x").extra["sent"] for status in (429, 401, 500, 503, 504)}
    assert sent == {429: False, 401: False, 500: True, 503: True, 504: True}


def test_conflicts_name_fields_and_managers() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using v1', "field": ".data.a"},
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "hpa" with subresource "scale" using autoscaling/v1',
            "field": ".spec.replicas",
        },
    ]
    refusal = Refusal(409, "Conflict", "Apply failed with 2 conflicts", {"causes": causes})
    assert field_conflicts(refusal) == {"data.a": "kubectl-edit", "spec.replicas": "hpa"}
    assert field_conflicts(Refusal(409, "Conflict", "modified")) == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"<html>bad gateway</html>", "<html>bad gateway</html>"), (b'{"x": 1}', '{"x": 1}'), (b"", "")],
)
def test_a_body_that_is_no_status_is_kept_as_text(body: bytes, message: str) -> None:
    assert read_refusal(502, body, "soon").message == message


def test_retry_after_is_read_in_seconds() -> None:
    body = orjson.dumps({"kind": "Status", "reason": "TooManyRequests", "message": "busy", "details": None})
    refusal = read_refusal(429, body, "7")
    assert (refusal.retry_after, refusal.details) == (7, {})
    assert to_error(refusal, "x").retry_after == 7
