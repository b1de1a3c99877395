"""Heads of the audit chain in append blobs of a container of Azure Blob Storage: what is written there can be kept from being changed.

A time-based immutability policy of the container with `allowProtectedAppendWrites` lets a line be added and no line be changed or removed, by
nobody, whoever owns the database or this process's key:
https://learn.microsoft.com/azure/storage/blobs/immutable-time-based-retention-policy-overview#allow-protected-append-blobs-writes
A blob takes 50,000 lines, so each third of a day has its own: one head a second fills 28,800.
https://learn.microsoft.com/rest/api/storageservices/append-block
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controlplane.domain.audit_chain import Anchor
from controlplane.domain.audit_lines import anchor_line, read_anchors
from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef
from controlplane.ports.secrets import Secrets

from .blob import AT_ONCE, SignedIn

if TYPE_CHECKING:  # takes a while to import, and most installations never need it
    from azure.storage.blob.aio import BlobClient, ContainerClient

FOLDER: Final = "audit-heads/"
_HOURS: Final = 8


class AnchorBlobs:
    """See `controlplane.ports.anchors.Anchors`; it signs in as `SignedIn` says.

    Signatures: `racl` to write, `rl` to read. Role of an identity: Storage Blob Data Contributor, or Reader.
    """

    def __init__(self, url: str, secrets: Secrets, sas: SecretRef | None = None, *, ca: Path | None = None) -> None:
        self._door = SignedIn(url, secrets, sas, ca=ca)
        self._known: dict[str, tuple[str, tuple[Anchor, ...]]] = {}

    async def put(self, anchor: Anchor) -> None:
        """Append a line; the service has it durably when it answers. A line that is written twice says the same twice."""
        with self._door.failing(self._away):
            await _append(await self._door.container(), _blob_of(anchor.at), anchor_line(anchor))

    async def read(self) -> Sequence[Anchor]:
        """Read every line; blobs that did not change since the last look are not fetched again."""
        with self._door.failing(self._away):
            container = await self._door.container()
            there = {blob.name: str(blob.etag) async for blob in container.list_blobs(name_starts_with=FOLDER)}
            places = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._fetch(container, name, etag, places) for name, etag in there.items()))
        self._known = {name: found for name, found in self._known.items() if name in there}
        return [anchor for name in sorted(there) for anchor in self._known[name][1]]

    async def _fetch(self, container: ContainerClient, name: str, etag: str, places: asyncio.Semaphore) -> None:
        known = self._known.get(name)
        if known is not None and known[0] == etag:
            return
        async with places:
            blob = await container.download_blob(name)
            text = (await blob.readall()).decode()
        self._known[name] = (etag, tuple(read_anchors(text.splitlines())))

    async def close(self) -> None:
        """Close connections."""
        await self._door.close()

    def _away(self, why: str) -> DependencyError:
        detail = f"Heads of the audit trail can't be kept in {self._door.url}, or read there ({why})."
        return DependencyError(
            f"{detail} Check SEAWALL_AUDIT_ANCHORS_CONTAINER, its firewall, and what signs in there.",
            code="anchor-unavailable",
        )


async def _append(container: ContainerClient, name: str, line: bytes) -> None:
    """Add to the blob, which the first to need it makes; two that make it at once make it once."""
    from azure.core.exceptions import ResourceNotFoundError

    blob = container.get_blob_client(name)
    try:
        await blob.append_block(line)
    except ResourceNotFoundError:
        await _made(blob)
        await blob.append_block(line)


async def _made(blob: BlobClient) -> None:
    """Make it unless it is there. A signature that may add and not write is refused (403) where another worker was faster."""
    from azure.core import MatchConditions
    from azure.core.exceptions import HttpResponseError

    try:
        await blob.create_append_blob(match_condition=MatchConditions.IfMissing)
    except HttpResponseError:
        if not await blob.exists():
            raise


def _blob_of(at: str) -> str:
    """`audit-heads/2026-11-25-16.ndjson`: the day and hour (UTC) that its third of a day begins with."""
    moment = datetime.fromisoformat(at)
    return f"{FOLDER}{moment:%Y-%m-%d}-{moment.hour - moment.hour % _HOURS:02}.ndjson"
