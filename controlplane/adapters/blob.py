"""Files in a container of Azure Blob Storage. A blob is written in one request, so that a reader sees the old one or the new.

Signing in: a shared access signature (`rwdl` on the container; read anew for each call, so that a renewed one counts at once), or the
workload identity of this process (role Storage Blob Data Contributor on the container). The container is not made here.
https://learn.microsoft.com/azure/storage/blobs/storage-blob-container-user-delegation-sas-create-python
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from controlplane.domain.errors import DependencyError, SeawallError
from controlplane.domain.secret_refs import SecretRef
from controlplane.ports.secrets import Secrets

if TYPE_CHECKING:  # takes a while to import, and most installations never need it
    from azure.core.exceptions import AzureError
    from azure.identity.aio import WorkloadIdentityCredential
    from azure.storage.blob.aio import ContainerClient

AT_ONCE: Final = 8
"""Requests at once, of one process."""
_CLIENT: Final[dict[str, Any]] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
    "connection_timeout": 5,
    "read_timeout": 20,
}


class SignedIn:
    """A client of one container with what signs in now. `sas` None: the workload identity. `ca`: certificates to trust instead of the machine's."""

    def __init__(self, url: str, secrets: Secrets, sas: SecretRef | None = None, *, ca: Path | None = None) -> None:
        self.url = url
        self._secrets = secrets
        self._sas = sas
        self._trust: dict[str, Any] = {"connection_verify": str(ca)} if ca else {}
        self._identity: WorkloadIdentityCredential | None = None
        self._client: tuple[str, ContainerClient] | None = None

    @contextmanager
    def failing(self, away: Callable[[str], DependencyError]) -> Iterator[None]:
        """Turn whatever the service or the signing in raises into `away`, told why without the service's words."""
        from azure.core.exceptions import AzureError

        try:
            yield
        except AzureError as error:
            raise away(_said(error)) from error
        except SeawallError as error:
            raise away(error.detail) from error
        except (ValueError, OSError) as error:  # no workload identity, a token file or a CA file that can't be read
            raise away(type(error).__name__) from error

    async def container(self) -> ContainerClient:
        """A client with what signs in now."""
        from azure.core.credentials import AzureSasCredential
        from azure.identity.aio import WorkloadIdentityCredential
        from azure.storage.blob.aio import ContainerClient, LinearRetry

        sas = self._secrets.read(self._sas).decode("ascii").lstrip("?") if self._sas else ""
        if self._client is not None and self._client[0] == sas:
            return self._client[1]
        await self._close_client()
        if not sas:
            self._identity = self._identity or WorkloadIdentityCredential(**self._trust)
        credential = AzureSasCredential(sas) if sas else self._identity
        client = ContainerClient.from_container_url(
            self.url,
            credential=credential,
            retry_policy=LinearRetry(backoff=1, retry_total=1, random_jitter_range=0),
            **_CLIENT,
            **self._trust,
        )
        self._client = (sas, client)
        return client

    async def _close_client(self) -> None:
        if self._client is not None:
            await self._client[1].close()
            self._client = None

    async def close(self) -> None:
        """Close connections."""
        await self._close_client()
        if self._identity is not None:
            await self._identity.close()


class BlobContainer:
    """See `controlplane.ports.blobs.Blobs`; it signs in as `SignedIn` says."""

    def __init__(self, url: str, secrets: Secrets, sas: SecretRef | None = None, *, ca: Path | None = None) -> None:
        self._door = SignedIn(url, secrets, sas, ca=ca)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def replace(self, folder: str, files: Mapping[str, str]) -> int:
        """Write what differs by its MD5, remove what is not named."""
        with self._door.failing(self._away):
            return await self._replace(await self._door.container(), folder, files)

    async def _replace(self, container: ContainerClient, folder: str, files: Mapping[str, str]) -> int:
        there = {} if not folder and not files else await _listed(container, folder)
        wanted = {_path(folder, name): text.encode() for name, text in files.items()}
        new = {path: content for path, content in wanted.items() if there.get(path) != hashlib.md5(content).digest()}  # noqa: S324 -- the service's own checksum
        gone = sorted(there.keys() - wanted.keys()) if folder else []
        await self._all(_write(container, path, content) for path, content in new.items())
        await self._all(_remove(container, path) for path in gone)
        return len(new) + len(gone)

    async def _all(self, calls: Iterable[Awaitable[None]]) -> None:
        async def one(call: Awaitable[None]) -> None:
            async with self._places:
                await call

        try:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(one(call))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed  # the others were cancelled, or say the same

    async def close(self) -> None:
        """Close connections."""
        await self._door.close()

    def _away(self, why: str) -> DependencyError:
        detail = f"Files can't be kept in {self._door.url} ({why}). Check the container, its firewall, and what signs in there."
        return DependencyError(detail, code="blobs-unavailable")


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


async def _listed(container: ContainerClient, folder: str) -> dict[str, bytes | None]:
    """The blobs right in a folder, with their checksums."""
    prefix = _path(folder, "")
    found: dict[str, bytes | None] = {}
    async for blob in container.list_blobs(name_starts_with=prefix or None):
        if "/" not in blob.name[len(prefix) :]:
            found[blob.name] = bytes(blob.content_settings.content_md5 or b"") or None
    return found


async def _write(container: ContainerClient, path: str, content: bytes) -> None:
    from azure.storage.blob import ContentSettings

    digest = bytearray(hashlib.md5(content).digest())  # noqa: S324 -- the service's own checksum
    kind = "application/json" if path.endswith(".json") else "text/plain; charset=utf-8"
    settings = ContentSettings(content_type=kind, content_md5=digest)
    await container.upload_blob(path, content, overwrite=True, content_settings=settings)


async def _remove(container: ContainerClient, path: str) -> None:
    """Another worker may have been faster."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        await container.delete_blob(path)
    except ResourceNotFoundError:
        return


def _said(error: AzureError) -> str:
    """What went wrong, without the service's words: they may quote the signature."""
    code, status = getattr(error, "error_code", None), getattr(error, "status_code", None)
    return " ".join(str(part) for part in (status, getattr(code, "value", code)) if part) or type(error).__name__
