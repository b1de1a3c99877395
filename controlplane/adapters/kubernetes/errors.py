"""What an API server's refusal means for Seawall, by its cause and not by its status alone. Pure.

Statuses and reasons: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from controlplane.adapters.kubernetes.fence_policies import FENCE_POLICY
from controlplane.domain.errors import SeawallError
from controlplane.ports.clusters import (
    AlreadyExistsError,
    ClusterUnavailableError,
    FencedError,
    NamespaceGoneError,
    QuotaExceededError,
    RejectedError,
)

_IMMUTABLE = re.compile(r"immutable|may not change once set|updates to statefulset spec for fields other than")
_CONFLICT = re.compile(r'conflict with "(?P<manager>[^"]+)"')
_BUSY_SECONDS = 1
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Status that the API server answered instead of an object."""

    status: int
    reason: str = ""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    retry_after: int | None = None

    @property
    def causes(self) -> Sequence[Mapping[str, Any]]:
        """`details.causes`, empty if there is none."""
        return self.details.get("causes") or ()

    @property
    def authorization(self) -> bool:
        """Refused by RBAC, not by admission: the user may not do this to anything here."""
        return self.status == 403 and " cannot " in self.message and "is forbidden: User" in self.message


def read_refusal(status: int, body: bytes, retry_after: str | None) -> Refusal:
    """Read an answer of status 400 or more; a body that is no Status (a proxy's page) is kept as text."""
    wait = int(retry_after) if retry_after and retry_after.isdecimal() else None
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or found.get("kind") != "Status":
        return Refusal(status, message=body[:_LONGEST].decode(errors="replace"), retry_after=wait)
    return Refusal(status, found.get("reason") or "", found.get("message") or "", found.get("details") or {}, wait)


def field_conflicts(refusal: Refusal) -> dict[str, str]:
    """Field path -> manager, of an apply that was refused because somebody else owns fields; empty if it wasn't that."""
    taken: dict[str, str] = {}
    for cause in refusal.causes:
        match = _CONFLICT.search(str(cause.get("message", "")))
        if cause.get("reason") == "FieldManagerConflict" and match:
            taken[str(cause.get("field", "")).lstrip(".")] = match["manager"]
    return taken if refusal.status == 409 else {}


def to_error(refusal: Refusal, what: str) -> SeawallError:
    """The error to raise. `what` names the call for a person: `apply Deployment web in acme-fr`."""
    said = refusal.message or refusal.reason or f"status {refusal.status}"
    if refusal.status == 403:
        return _forbidden(refusal, what, said)
    if refusal.status == 404:
        return _not_found(refusal, what, said)
    if refusal.status == 409:
        if refusal.reason == "AlreadyExists":
            return AlreadyExistsError(f"Could not {what}: {said}. Look at who made it before repeating.")
        return object_busy(what, said)
    if refusal.status == 429 or refusal.status >= 500 or refusal.status in (401, 408):
        return _unavailable(refusal, what, said)
    immutable = refusal.status == 422 and any(_IMMUTABLE.search(str(c.get("message", ""))) for c in refusal.causes)
    if immutable or (refusal.status == 422 and _IMMUTABLE.search(said)):
        detail = f"Could not {what}: {said}. Give the object another name, or delete it first."
        return RejectedError(detail, code="immutable-field")
    return RejectedError(f"Could not {what}: {said}. Correct the object; repeating changes nothing.")


def _forbidden(refusal: Refusal, what: str, said: str) -> SeawallError:
    if f"'{FENCE_POLICY}'" in said and "fenced:" in said:
        return FencedError(f"Could not {what}: {said}. Stop writing: another worker has taken the environment.")
    if any(cause.get("reason") == "NamespaceTerminating" for cause in refusal.causes):
        return terminating(str(refusal.details.get("name", "")), what)
    if "exceeded quota" in said:
        return QuotaExceededError(f"Could not {what}: {said}. Raise the tier's quota or free what is used.")
    if "status unknown for quota" in said:
        detail = (
            f"Could not {what}: the quota controller has not counted the namespace yet ({said}). Repeat in a moment."
        )
        return ClusterUnavailableError(detail, retry_after=_BUSY_SECONDS, extra={"sent": False})
    detail = f"Could not {what}: {said}. Correct the object or Seawall's rights in the cluster."
    return RejectedError(detail, code="not-permitted")


def _not_found(refusal: Refusal, what: str, said: str) -> SeawallError:
    if refusal.details.get("kind") == "namespaces":
        return NamespaceGoneError(
            f"Could not {what}: {said}. Onboard the tenant again, or check that the cluster is the right one."
        )
    return RejectedError(f"Could not {what}: {said}. Check that the cluster knows this kind.")


def _unavailable(refusal: Refusal, what: str, said: str) -> ClusterUnavailableError:
    if refusal.status == 429:
        detail = f"Could not {what}: the API server is busy (429, {said}). Wait as long as it says."
        wait = refusal.retry_after or _BUSY_SECONDS
        return ClusterUnavailableError(detail, code="cluster-busy", retry_after=wait, extra={"sent": False})
    if refusal.status == 401:
        detail = f"Could not {what}: the API server does not accept Seawall's credentials ({said}). Renew them."
        return ClusterUnavailableError(detail, code="cluster-unauthorized", extra={"sent": False})
    detail = (
        f"Could not {what}: the API server answered {refusal.status} ({said}). Look at the object before repeating."
    )
    return ClusterUnavailableError(detail, retry_after=refusal.retry_after, extra={"sent": True})


def object_busy(what: str, said: str) -> ClusterUnavailableError:
    """Somebody else's writes came between each of our tries: nothing is wrong, and nothing was done."""
    detail = f"Could not {what}: {said}. Repeat in a moment."
    return ClusterUnavailableError(detail, code="object-busy", extra={"sent": False})


def terminating(namespace: str, what: str) -> NamespaceGoneError:
    """The namespace is being deleted."""
    detail = f"Could not {what}: namespace {namespace} is being deleted. Wait until it is gone, then onboard again."
    return NamespaceGoneError(detail, code="namespace-terminating")


def replaced(namespace: str, uid: str, found: str, what: str) -> NamespaceGoneError:
    """Another namespace has the name."""
    detail = f"Could not {what}: namespace {namespace} has uid {found}, not {uid}: it was deleted and made anew. Onboard again."
    return NamespaceGoneError(detail, code="namespace-replaced")
