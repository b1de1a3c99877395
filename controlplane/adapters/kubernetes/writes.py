"""The mutating calls on objects of a namespace: apply, create, delete, release a finalizer. Each fenced, each within 5 s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from controlplane.adapters.fleet.states import annotation
from controlplane.adapters.kubernetes.applied import Fingerprints
from controlplane.adapters.kubernetes.errors import field_conflicts, object_busy, to_error
from controlplane.adapters.kubernetes.handover import handover_of, lets_go, without_handover
from controlplane.adapters.kubernetes.identities import FIELD_MANAGER, HANDOVER_MANAGER, reader, writer
from controlplane.adapters.kubernetes.resources import Resources
from controlplane.adapters.kubernetes.sending import Sender, explained
from controlplane.adapters.kubernetes.transport import (
    APPLY,
    MERGE,
    METADATA_ONLY,
    Answer,
    RefusedError,
    Request,
    Transport,
)
from controlplane.domain.names import JOB_FINALIZER, STEP_ANNOTATION
from controlplane.ports.clusters import (
    AlreadyExistsError,
    Applied,
    Identity,
    Manifest,
    ObjectRef,
)

TRIES = 3
"""How often a precondition that somebody else's write broke is read again."""


class Writes:
    """Writes of one cluster."""

    def __init__(self, transport: Transport, resources: Resources) -> None:
        self._transport = transport
        self._sender = Sender(transport)
        self._resources = resources
        self._fingerprints = Fingerprints()

    async def apply(
        self, namespace: str, manifest: Manifest, epoch: int, identity: Identity, *, dry_run: bool = False
    ) -> Applied:
        """Apply server-side. First without force: a conflict names the fields and their managers; then by force, recorded."""
        ref = ObjectRef(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        request = Request(
            "PATCH",
            await self._resources.path(namespace, ref.api_version, ref.kind, ref.name),
            f"apply {ref.kind} {ref.name} in {namespace}",
            writer(epoch, identity, namespace),
            {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})},
            manifest,
            APPLY,
            METADATA_ONLY,
        )
        if lets_go(manifest) and not dry_run:
            await self._hand_over(request, namespace)
        taken: dict[str, str] = {}
        try:
            answer = await self._sender.send(request, namespace)
        except RefusedError as refused:
            taken = field_conflicts(refused.refusal)
            if not taken:
                raise explained(refused, namespace) from refused
            answer = await self._send(replace(request, query={**request.query, "force": "true"}), namespace)
        return self._applied(ref, answer, without_handover(taken))

    async def _hand_over(self, request: Request, namespace: str) -> None:
        """Before our apply lets a field go, see that somebody holds it."""
        try:
            live = (await self._transport.call(Request("GET", request.path, request.what, reader()))).body
        except RefusedError as refused:
            if refused.refusal.status == 404:
                return
            raise explained(refused, namespace) from refused
        handover = handover_of(live)
        if handover is not None:
            query = {"fieldManager": HANDOVER_MANAGER, "force": "true"}
            await self._send(replace(request, body=handover, query=query), namespace)

    async def create(self, namespace: str, manifest: Manifest, epoch: int, identity: Identity) -> Applied:
        """Create; an object of the same step that is there already is ours."""
        ref = ObjectRef(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        request = Request(
            "POST",
            await self._resources.path(namespace, ref.api_version, ref.kind),
            f"create {ref.kind} {ref.name} in {namespace}",
            writer(epoch, identity, namespace),
            {"fieldManager": FIELD_MANAGER},
            manifest,
            accept=METADATA_ONLY,
        )
        try:
            return self._applied(ref, await self._send(request, namespace), {})
        except AlreadyExistsError:
            found = await self._metadata(namespace, ref)
            step = annotation(manifest, STEP_ANNOTATION)
            if found is None or not step or annotation({"metadata": found}, STEP_ANNOTATION) != step:
                raise
            return Applied(_with_versions(ref, found), found.get("generation", 0), changed=False)

    async def delete(self, namespace: str, ref: ObjectRef, epoch: int, identity: Identity) -> bool:
        """Delete this very object. False if it, by its uid, is gone."""
        path = await self._resources.path(namespace, ref.api_version, ref.kind, ref.name)
        what = f"delete {ref.kind} {ref.name} in {namespace}"
        uid, version = ref.uid, ref.resource_version
        for _ in range(TRIES):
            if not (uid and version):
                found = await self._metadata(namespace, ref)
                if found is None or (uid and found["uid"] != uid):
                    return False
                uid, version = found["uid"], found["resourceVersion"]
            body = delete_options(uid, version)
            request = Request("DELETE", path, what, writer(epoch, identity, namespace), body=body)
            try:
                await self._sender.send(request, namespace)
            except RefusedError as refused:
                if refused.refusal.status == 404:
                    return False
                if refused.refusal.status != 409:
                    raise explained(refused, namespace) from refused
                version = ""
            else:
                return True
        raise object_busy(what, "it changes faster than it can be read")

    async def release_finalizer(self, namespace: str, ref: ObjectRef, epoch: int, identity: Identity) -> None:
        """Take Seawall's finalizer off; nothing to do if it, or the object, is gone."""
        path = await self._resources.path(namespace, ref.api_version, ref.kind, ref.name)
        what = f"release {ref.kind} {ref.name} in {namespace}"
        for _ in range(TRIES):
            found = await self._metadata(namespace, ref)
            if found is None or (ref.uid and found["uid"] != ref.uid):
                return
            if JOB_FINALIZER not in (found.get("finalizers") or []):
                return
            kept = [one for one in found["finalizers"] if one != JOB_FINALIZER]
            meta = {"uid": found["uid"], "resourceVersion": found["resourceVersion"], "finalizers": kept}
            headers = writer(epoch, identity, namespace)
            query = {"fieldManager": FIELD_MANAGER}
            request = Request("PATCH", path, what, headers, query, {"metadata": meta}, MERGE, METADATA_ONLY)
            try:
                await self._sender.send(request, namespace)
            except RefusedError as refused:
                if refused.refusal.status == 404:
                    return
                if refused.refusal.status != 409:
                    raise explained(refused, namespace) from refused
            else:
                return
        raise object_busy(what, "it changes faster than it can be read")

    async def _send(self, request: Request, namespace: str) -> Answer:
        try:
            return await self._sender.send(request, namespace)
        except RefusedError as refused:
            raise explained(refused, namespace) from refused

    async def _metadata(self, namespace: str, ref: ObjectRef) -> dict[str, Any] | None:
        path = await self._resources.path(namespace, ref.api_version, ref.kind, ref.name)
        request = Request("GET", path, f"read {ref.kind} {ref.name} in {namespace}", reader(), accept=METADATA_ONLY)
        try:
            found: dict[str, Any] = (await self._transport.call(request)).body["metadata"]
        except RefusedError as refused:
            if refused.refusal.status == 404:
                return None
            raise to_error(refused.refusal, refused.what) from refused
        return found

    def _applied(self, ref: ObjectRef, answer: Answer, taken: Mapping[str, str]) -> Applied:
        meta = answer.body["metadata"]
        created = answer.status == 201
        changed = self._fingerprints.changed(meta.get("uid", ""), meta, created=created, now=datetime.now(UTC))
        return Applied(_with_versions(ref, meta), meta.get("generation", 0), changed or bool(taken), taken)


def delete_options(uid: str, version: str) -> dict[str, Any]:
    """DeleteOptions that name the object as it was read, and let what it owns follow in the background."""
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid, "resourceVersion": version},
        "propagationPolicy": "Background",
    }


def _with_versions(ref: ObjectRef, meta: Mapping[str, Any]) -> ObjectRef:
    return replace(ref, uid=meta.get("uid", ""), resource_version=meta.get("resourceVersion", ""))
