"""One door for every kind of credential."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Final

from controlplane.domain.errors import UnauthenticatedError
from controlplane.domain.federation import NoRoleError
from controlplane.domain.identity import Principal
from controlplane.ports.identity import Authenticator
from controlplane.ports.uow import Transactions
from controlplane.services.approvals import void_lost_votes
from controlplane.services.keys import PREFIX, principal_of_key

PEOPLE: Final = 10_000
"""Whose newest token is remembered; of anybody else votes are looked at once more."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Credentials:
    """Keys start with `sw_`; everything else is taken for an OpenID Connect token, if an issuer is configured."""

    def __init__(self, transactions: Transactions, tokens: Authenticator | None = None) -> None:
        self._transactions = transactions
        self._tokens = tokens
        self._newest: OrderedDict[str, datetime] = OrderedDict()

    async def authenticate(self, credential: str) -> Principal:
        """See `controlplane.ports.identity.Authenticator`."""
        if credential.startswith(PREFIX):
            return await principal_of_key(self._transactions, credential)
        if self._tokens is None:
            detail = "This is not an API key (they start with sw_), and no OpenID Connect issuer is configured here."
            raise UnauthenticatedError(detail, code="unknown-credential")
        try:
            principal = await self._tokens.authenticate(credential)
        except NoRoleError as error:
            await self._take_back_lost_votes(error.principal)
            raise
        await self._take_back_lost_votes(principal)
        return principal

    async def _take_back_lost_votes(self, principal: Principal) -> None:
        """Once for each newer token of a person: votes for groups that it does not name any more count no longer."""
        issued = principal.issued_at
        if issued is None or issued <= self._newest.get(principal.id, _NEVER):
            return
        async with self._transactions.platform() as uow:
            await void_lost_votes(uow, principal.id, principal.groups, issued)
        self._newest[principal.id] = issued
        self._newest.move_to_end(principal.id)
        if len(self._newest) > PEOPLE:
            self._newest.popitem(last=False)
