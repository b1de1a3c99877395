"""Reads from the API server itself: one object, or all of some kinds. Of Secrets only the metadata: values never leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from controlplane.adapters.kubernetes.errors import to_error
from controlplane.adapters.kubernetes.identities import reader
from controlplane.adapters.kubernetes.resources import Resources
from controlplane.adapters.kubernetes.transport import (
    JSON,
    LIST_TIMEOUT,
    METADATA_LIST,
    METADATA_ONLY,
    RefusedError,
    Request,
    Transport,
)
from controlplane.ports.clusters import Manifest, ObjectRef

PAGE = 500
"""Objects per page of a list."""


async def read_or_none(transport: Transport, request: Request) -> Manifest | None:
    """What is there; None if nothing is."""
    try:
        return (await transport.call(request)).body
    except RefusedError as refused:
        if refused.refusal.status == 404:
            return None
        raise to_error(refused.refusal, refused.what) from refused


class Reads:
    """Reads of one cluster."""

    def __init__(self, transport: Transport, resources: Resources) -> None:
        self._transport = transport
        self._resources = resources

    async def get(self, namespace: str, ref: ObjectRef) -> Manifest | None:
        """One object, or None."""
        path = await self._resources.path(namespace, ref.api_version, ref.kind, ref.name)
        what = f"read {ref.kind} {ref.name} in {namespace}"
        request = Request("GET", path, what, reader(), accept=METADATA_ONLY if ref.kind == "Secret" else JSON)
        return await read_or_none(self._transport, request)

    async def list_objects(self, namespace: str, kinds: Sequence[tuple[str, str]]) -> list[Manifest]:
        """All objects of the kinds."""
        found: list[Manifest] = []
        for api_version, kind in kinds:
            path = await self._resources.path(namespace, api_version, kind)
            async for items, _ in pages(self._transport, path, f"list {kind} in {namespace}", {}, kind):
                found += [{**one, "apiVersion": api_version, "kind": kind} for one in items]
        return found

    async def version(self) -> str:
        """The API server's version; it needs no rights, so it also proves that the server answers."""
        try:
            found = await self._transport.call(Request("GET", "/version", "ask for the version", reader()))
        except RefusedError as refused:
            raise to_error(refused.refusal, refused.what) from refused
        return str(found.body["gitVersion"])


async def pages(
    transport: Transport,
    path: str,
    what: str,
    query: Mapping[str, str],
    kind: str = "",
    *,
    metadata_only: bool = False,
) -> AsyncIterator[tuple[list[Manifest], str]]:
    """The pages of a list, each with the list's resourceVersion. Raises as `to_error` says."""
    token, accept = "", METADATA_LIST if kind == "Secret" or metadata_only else JSON
    while True:
        asked = {**query, "limit": str(PAGE), **({"continue": token} if token else {})}
        try:
            request = Request("GET", path, what, reader(), asked, accept=accept, timeout=LIST_TIMEOUT)
            answer = await transport.call(request)
        except RefusedError as refused:
            raise to_error(refused.refusal, what) from refused
        meta = answer.body["metadata"]
        yield answer.body.get("items") or [], meta["resourceVersion"]
        token = meta.get("continue", "")
        if not token:
            return
