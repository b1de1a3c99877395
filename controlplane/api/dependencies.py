"""What a handler asks for: who calls and may, transactions as the right database role, one effect per idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from controlplane.bootstrap import Container
from controlplane.domain.errors import NotFoundError
from controlplane.domain.identity import Principal, check_allowed, check_sees_app, check_sees_tenant
from controlplane.ports.uow import UnitOfWork

_bearer = HTTPBearer(
    auto_error=False, description="An API key (`sw_...`) or a token of the configured OpenID Connect issuer."
)


def container_of(request: Request) -> Container:
    """The parts of this process."""
    container: Container = request.app.state.container
    return container


class Call:
    """One request of one principal that its role allows. What it may see depends on `bound`."""

    def __init__(self, request: Request, principal: Principal, action: str) -> None:
        self.request = request
        self.principal = principal
        self.action = action
        self.container = container_of(request)

    @property
    def actor(self) -> str:
        """Who audit rows name."""
        return self.principal.id

    @property
    def bound(self) -> bool:
        """Whether the caller sees its own tenants or apps only."""
        return self.principal.scope(self.action) == "bound"

    def transaction(self, tenant: str | None = None) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a transaction: as `sw_platform` for fleet roles; for a bound caller as `sw_tenant` of the tenant it names.

        A bound caller that names a tenant it may not see gets NotFoundError. Roles bound to apps (`ci`) have no tenant:
        the handler checks `check_app`, then asks for `platform()`.
        """
        if not self.bound:
            return self.container.database.platform()
        if tenant is None:
            raise NotFoundError("There is nothing here that you may see.")
        self.check_tenant(tenant)
        return self.container.database.tenant(tenant)

    def platform(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a transaction that sees the fleet. For bound callers only after `check_tenant` or `check_app`."""
        return self.container.database.platform()

    def check_tenant(self, tenant: str) -> None:
        """Raise NotFoundError unless the caller may do this to this tenant."""
        check_sees_tenant(self.principal, self.action, tenant)

    def check_app(self, app: str) -> None:
        """Raise NotFoundError unless the caller may do this to this app."""
        check_sees_app(self.principal, self.action, app)


def may(action: str) -> Any:
    """Ask for a caller whose role allows `action`; the table is in `domain.identity`.

    In a handler: `call: Annotated[Call, may("keys.read")]`.
    """
    return Depends(_allowed(action))


def _allowed(action: str) -> Callable[..., Call]:
    def allowed(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None) -> Call:
        principal: Principal = request.state.principal
        check_allowed(principal, action)
        return Call(request, principal, action)

    return allowed
