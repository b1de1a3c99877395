"""Tokens of Entra ID for this process's workload identity, for APIs such as Azure Monitor workspaces.

The library keeps a token until shortly before it ends, and reads the federated token file again when it needs a new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.ports.gates import MetricsError

if TYPE_CHECKING:  # takes a while to import, and most installations never need it
    from azure.identity.aio import WorkloadIdentityCredential


class EntraToken:
    """A token for one scope; `ca`: certificates to trust at the identity provider instead of the machine's.

    The credential is made at first use: it needs AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE.
    """

    def __init__(self, scope: str, ca: Path | None = None) -> None:
        self._scope = scope
        self._trust = {"connection_verify": str(ca)} if ca else {}
        self._credential: WorkloadIdentityCredential | None = None

    async def get(self) -> str:
        """The token; raises MetricsError without the words of the identity provider, which may quote what it was sent."""
        from azure.core.exceptions import AzureError
        from azure.identity.aio import WorkloadIdentityCredential

        try:
            self._credential = self._credential or WorkloadIdentityCredential(**self._trust)
            return (await self._credential.get_token(self._scope)).token
        except (AzureError, ValueError, OSError) as error:
            raise MetricsError(f"no token for the metric source from Entra ID ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close connections."""
        if self._credential is not None:
            await self._credential.close()
