"""Sending a mutating call as an identity whose rights may be brand new, or gone together with its namespace."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from controlplane.adapters.kubernetes.errors import terminating, to_error
from controlplane.adapters.kubernetes.identities import reader
from controlplane.adapters.kubernetes.transport import (
    CALL_TIMEOUT,
    METADATA_ONLY,
    Answer,
    RefusedError,
    Request,
    Transport,
)
from controlplane.domain.errors import SeawallError
from controlplane.ports.clusters import NamespaceGoneError

RIGHTS_SETTLE = 2.0
"""Seconds that the API server's authorizer may need to hear of a RoleBinding; milliseconds are usual, a loaded server needs more."""
_LOOK = 0.1


class Sender:
    """Sends the writes of one cluster."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request, namespace: str) -> Answer:
        """Call; missing rights are asked again for `RIGHTS_SETTLE`, all within the call's 5 s. Raises `RefusedError`.

        A deployer without rights may mean that its namespace, and its role with it, has gone: then `NamespaceGoneError`.
        """
        began = time.monotonic()
        while True:
            try:
                left = CALL_TIMEOUT - (time.monotonic() - began)
                return await self._transport.call(replace(request, timeout=left))
            except RefusedError as refused:
                if not refused.refusal.authorization:
                    raise
                await self._see_namespace(namespace, refused)
                if time.monotonic() - began > RIGHTS_SETTLE:
                    raise
            await asyncio.sleep(_LOOK)  # nothing tells when the authorizer has heard of a binding

    async def _see_namespace(self, namespace: str, refused: RefusedError) -> None:
        request = Request("GET", f"/api/v1/namespaces/{namespace}", refused.what, reader(), accept=METADATA_ONLY)
        try:
            found = (await self._transport.call(request)).body["metadata"]
        except RefusedError as gone:
            raise to_error(gone.refusal, refused.what) from gone
        if "deletionTimestamp" in found:
            raise terminating(namespace, refused.what) from refused


def explained(refused: RefusedError, namespace: str) -> SeawallError:
    """The error that leaves the adapter for a refused write in a namespace."""
    error = to_error(refused.refusal, refused.what)
    if isinstance(error, NamespaceGoneError) and error.code == "namespace-terminating":
        return terminating(namespace, refused.what)
    return error
