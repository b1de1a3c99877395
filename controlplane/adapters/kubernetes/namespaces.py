"""Namespaces: made once, sealed with an epoch, deleted by uid."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.adapters.fleet.states import namespace_view
from controlplane.adapters.kubernetes.errors import object_busy, replaced, terminating, to_error
from controlplane.adapters.kubernetes.identities import FIELD_MANAGER, reader, writer
from controlplane.adapters.kubernetes.reads import read_or_none
from controlplane.adapters.kubernetes.transport import MERGE, Answer, RefusedError, Request, Transport
from controlplane.adapters.kubernetes.writes import TRIES, delete_options
from controlplane.domain.names import (
    EPOCH_ANNOTATION,
    FENCED_LABEL,
    INSTALLATION_ANNOTATION,
    MANAGED_LABEL,
    OPERATION_ANNOTATION,
    REVISION_ANNOTATION,
    STEP_ANNOTATION,
)
from controlplane.ports.clusters import AlreadyExistsError, Fence, Manifest, NamespaceView

_PATH = "/api/v1/namespaces"
_MARKS = {MANAGED_LABEL: "true", FENCED_LABEL: "true"}
_OURS = (OPERATION_ANNOTATION, INSTALLATION_ANNOTATION)


class Namespaces:
    """Namespaces of one cluster; always written as the platform."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def read(self, name: str) -> Manifest | None:
        """The Namespace, or None."""
        request = Request("GET", f"{_PATH}/{name}", f"read namespace {name}", reader())
        return await read_or_none(self._transport, request)

    async def create(self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> NamespaceView:
        """See `Cluster.create_namespace`. Creating has no fence: the operation's id says whose it is."""
        what = f"create namespace {name}"
        meta = {"name": name, "labels": {**labels, **_MARKS}, "annotations": dict(annotations)}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        query = {"fieldManager": FIELD_MANAGER}
        try:
            made = await self._transport.call(Request("POST", _PATH, what, writer(0, "platform", name), query, body))
            return namespace_view(made.body)
        except RefusedError as refused:
            error = to_error(refused.refusal, what)
            if not isinstance(error, AlreadyExistsError):
                raise error from refused
        found = await self.read(name)
        if found is None:
            raise object_busy(what, "one of that name has just gone")
        if "deletionTimestamp" in found["metadata"]:
            raise terminating(name, what)
        notes = found["metadata"].get("annotations") or {}
        if all(annotations.get(key) and notes.get(key) == annotations[key] for key in _OURS):
            return namespace_view(found)
        detail = f"Namespace {name} exists and was not made by this operation. Adopt it, or choose another tenant name."
        raise AlreadyExistsError(detail)

    async def ensure_priority_class(self, manifest: Manifest) -> None:
        """See `Cluster.ensure_priority_class`."""
        name = manifest["metadata"]["name"]
        what, path = f"create PriorityClass {name}", "/apis/scheduling.k8s.io/v1/priorityclasses"
        headers, query = writer(0, "platform", ""), {"fieldManager": FIELD_MANAGER}
        try:
            await self._transport.call(Request("POST", path, what, headers, query, manifest))
        except RefusedError as refused:
            error = to_error(refused.refusal, what)
            if not isinstance(error, AlreadyExistsError):
                raise error from refused
            await self._same_class(manifest, f"{path}/{name}", what)

    async def _same_class(self, manifest: Manifest, path: str, what: str) -> None:
        try:
            found = (await self._transport.call(Request("GET", path, what, reader()))).body
        except RefusedError as refused:
            raise to_error(refused.refusal, what) from refused
        if found["value"] != manifest["value"]:
            name = manifest["metadata"]["name"]
            detail = f"PriorityClass {name} exists with value {found['value']}, not {manifest['value']}; a value can't be changed."
            raise AlreadyExistsError(f"{detail} Give the tier another priority, or have the class deleted.")

    async def seal(self, name: str, uid: str, fence: Fence, labels: Mapping[str, str]) -> NamespaceView:
        """See `Cluster.seal`: one PATCH that names the uid, so that another namespace of the name is refused."""
        what = f"seal namespace {name} with epoch {fence.epoch}"
        notes = {
            EPOCH_ANNOTATION: str(fence.epoch),
            STEP_ANNOTATION: fence.step_id,
            REVISION_ANNOTATION: fence.revision,
        }
        meta = {**({"uid": uid} if uid else {}), "labels": {**labels, **_MARKS}, "annotations": notes}
        headers, query = writer(fence.epoch, "platform", name), {"fieldManager": FIELD_MANAGER}
        request = Request("PATCH", f"{_PATH}/{name}", what, headers, query, {"metadata": meta}, MERGE)
        view = namespace_view((await self._sealed(request, name, uid)).body)
        if view.terminating:
            raise terminating(name, what)
        return view

    async def _sealed(self, request: Request, name: str, uid: str) -> Answer:
        try:
            return await self._transport.call(request)
        except RefusedError as refused:
            if refused.refusal.status in (409, 422):
                found = await self.read(name)
                if found is not None and found["metadata"]["uid"] != uid:
                    raise replaced(name, uid, found["metadata"]["uid"], request.what) from refused
            raise to_error(refused.refusal, request.what) from refused

    async def delete(self, name: str, uid: str, fence: Fence) -> bool:
        """See `Cluster.delete_namespace`."""
        what = f"delete namespace {name}"
        for _ in range(TRIES):
            found = await self.read(name)
            if found is None or found["metadata"]["uid"] != uid:
                return False
            body = delete_options(uid, found["metadata"]["resourceVersion"])
            headers = writer(fence.epoch, "platform", name)
            try:
                await self._transport.call(Request("DELETE", f"{_PATH}/{name}", what, headers, body=body))
            except RefusedError as refused:
                if refused.refusal.status == 404:
                    return False
                if refused.refusal.status != 409:
                    raise to_error(refused.refusal, what) from refused
                if "deletionTimestamp" in found["metadata"]:
                    return True
            else:
                return True
        raise object_busy(what, "it changes faster than it can be read")
