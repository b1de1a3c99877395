"""Who calls, and what a role may do: one table, action -> roles."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from controlplane.domain.errors import ForbiddenError, NotFoundError
from controlplane.domain.wire import Wire

APPROVER: Final = "approver"
TENANT_OWNER: Final = "tenant-owner"
CI: Final = "ci"
FLEET_ROLES: Final = frozenset({"platform-admin", "release-manager", APPROVER, "operator", "auditor"})
"""Roles that see every tenant. `tenant-owner` sees the tenants it is bound to, `ci` the apps it is bound to."""

ROLE_PATTERN: Final = (
    r"^(platform-admin|release-manager|operator|auditor|tenant-owner|ci|approver:[a-z0-9][-a-z0-9]{0,62})$"
)
Role = Annotated[str, StringConstraints(pattern=ROLE_PATTERN)]
_ROLE = re.compile(ROLE_PATTERN)

_SEE = FLEET_ROLES
_OWNER = frozenset({TENANT_OWNER})
_CI = frozenset({CI})
_ADMIN = frozenset({"platform-admin"})
_MANAGE = frozenset({"platform-admin", "release-manager"})
_OPERATE = frozenset({"platform-admin", "operator"})
_RUN = frozenset({"platform-admin", "release-manager", "operator"})

PERMISSIONS: Final[dict[str, frozenset[str]]] = {
    "tenants.read": _SEE | _OWNER,
    "tenants.onboard": _ADMIN,
    "tenants.change": _ADMIN,
    "tenants.suspend": _OPERATE,
    "tenants.offboard": _ADMIN,
    "tenants.export": _ADMIN | {"auditor"},
    "tenants.defer": _RUN | _OWNER,
    "tenants.rollback": _RUN | _OWNER,
    "values.read": _SEE | _OWNER,
    "values.change": _MANAGE,
    "apps.read": _SEE | _CI,
    "apps.write": _ADMIN,
    "tiers.read": _SEE,
    "tiers.write": _ADMIN,
    "clusters.read": _SEE,
    "clusters.write": _ADMIN,
    "calendars.read": _SEE,
    "calendars.write": _MANAGE,
    "strategies.read": _SEE,
    "strategies.write": _MANAGE,
    "triggers.read": _SEE,
    "triggers.write": _MANAGE,
    "rules.read": _SEE,
    "rules.write": _MANAGE,
    "criteria.read": _SEE,
    "criteria.write": _ADMIN,
    "emergencies.read": _SEE,
    "emergencies.start": _RUN,
    "emergencies.review": _MANAGE | {"auditor", APPROVER},
    "endpoints.read": _SEE,
    "endpoints.write": _ADMIN,
    "people.read": _SEE,
    "people.write": _ADMIN,
    "rules.test": _RUN,
    "webhooks.read": _SEE,
    "webhooks.write": _ADMIN,
    "sources.read": _SEE,
    "sources.write": _ADMIN,
    "limits.read": _SEE,
    "limits.write": _ADMIN,
    "budgets.read": _SEE,
    "breakers.read": _SEE,
    "breakers.reset": _OPERATE,
    "releases.read": _SEE | _CI,
    "releases.register": _MANAGE | _CI,
    "releases.lift": _MANAGE,
    "evidence.read": _SEE | _CI,
    "evidence.write": _MANAGE | _CI,
    "backups.read": _SEE | _OWNER,
    "backups.report": _OPERATE,
    "restore-drills.read": _SEE | _OWNER,
    "restore-drills.report": _OPERATE,
    "trusts.read": _SEE,
    "trusts.write": _ADMIN,
    "artifacts.read": _SEE | _CI,
    "artifacts.write": _MANAGE | _CI,
    "holds.read": _SEE,
    "rollouts.read": _SEE | _CI,
    "rollouts.preview": _RUN,
    "rollouts.start": _RUN,
    "rollouts.control": _RUN,
    "rollouts.approve": frozenset({APPROVER}),
    "rollouts.withdraw": _ADMIN | {APPROVER},
    "events.read": _SEE | _CI,
    "events.send": _RUN | _CI,
    "dead-letters.read": _SEE,
    "dead-letters.redrive": _OPERATE,
    "operations.read": _SEE | _OWNER,
    "operations.cancel": _OPERATE,
    "freezes.read": _SEE,
    "freezes.write": _RUN,
    "changes.read": _SEE,
    "timelines.read": _SEE | _OWNER,
    "audit.read": frozenset({"platform-admin", "auditor"}),
    "keys.read": _ADMIN,
    "keys.write": _ADMIN,
    "whoami.read": _SEE | _OWNER | _CI,
}
"""Which roles may do what. `<family>.read` decides whether a refusal is 403 (it is visible) or 404 (it is not)."""

type Scope = Literal["fleet", "bound"]


class Principal(Wire):
    """Somebody whose key or token was checked. `id` is what audit rows and votes name: one person, one id.

    `groups` are the approver groups of its roles; `tenants` bind `tenant-owner`, `apps` bind `ci`. `issued_at`: when a person's token
    was made, with the roles of that moment.
    """

    id: str
    name: str = ""
    email: str = ""
    kind: Literal["key", "person", "workload"] = "key"
    roles: frozenset[str]
    tenants: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    issued_at: datetime | None = None

    @property
    def groups(self) -> frozenset[str]:
        """The approver groups this principal may vote for."""
        return frozenset(r.partition(":")[2] for r in self.roles if r.startswith(f"{APPROVER}:"))

    @property
    def families(self) -> frozenset[str]:
        """Roles without their group, as the permission table names them."""
        return frozenset(r.partition(":")[0] for r in self.roles)

    def may(self, action: str) -> bool:
        """Whether any of its roles allows the action (on something it may see)."""
        return bool(self.families & PERMISSIONS[action])

    def scope(self, action: str) -> Scope:
        """`fleet` if a role that sees everything allows the action, else `bound`: its tenants or apps only."""
        return "fleet" if self.families & PERMISSIONS[action] & FLEET_ROLES else "bound"


def check_allowed(principal: Principal, action: str) -> None:
    """Raise NotFoundError if the principal may not even see this family of things, ForbiddenError if it may not act."""
    if principal.may(action):
        return
    family = action.partition(".")[0]
    if f"{family}.read" in PERMISSIONS and not principal.may(f"{family}.read"):
        raise NotFoundError("There is nothing here that you may see. `GET /v1/whoami` says who you are.")
    needed = ", ".join(sorted(PERMISSIONS[action]))
    raise ForbiddenError(
        f"This needs one of the roles {needed}; you have {', '.join(sorted(principal.roles)) or 'none'}."
    )


def check_sees_tenant(principal: Principal, action: str, tenant: str) -> None:
    """Raise NotFoundError unless the principal may do this to this tenant."""
    if principal.scope(action) == "bound" and tenant not in principal.tenants:
        raise NotFoundError(f"There is no tenant {tenant!r} that you may see.")


def check_sees_app(principal: Principal, action: str, app: str) -> None:
    """Raise NotFoundError unless the principal may do this to this app."""
    if principal.scope(action) == "bound" and app not in principal.apps:
        raise NotFoundError(f"There is no app {app!r} that you may see.")


def is_role(text: str) -> bool:
    """Whether `text` names a role."""
    return bool(_ROLE.match(text))
