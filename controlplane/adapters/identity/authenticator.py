"""One door for every kind of credential."""

from __future__ import annotations

from controlplane.domain.errors import UnauthenticatedError
from controlplane.domain.identity import Principal
from controlplane.ports.identity import Authenticator
from controlplane.ports.uow import Transactions
from controlplane.services.keys import PREFIX, principal_of_key


class Credentials:
    """Keys start with `sw_`; everything else is taken for an OpenID Connect token, if an issuer is configured."""

    def __init__(self, transactions: Transactions, tokens: Authenticator | None = None) -> None:
        self._transactions = transactions
        self._tokens = tokens

    async def authenticate(self, credential: str) -> Principal:
        """See `controlplane.ports.identity.Authenticator`."""
        if credential.startswith(PREFIX):
            return await principal_of_key(self._transactions, credential)
        if self._tokens is None:
            detail = "This is not an API key (they start with sw_), and no OpenID Connect issuer is configured here."
            raise UnauthenticatedError(detail, code="unknown-credential")
        return await self._tokens.authenticate(credential)
