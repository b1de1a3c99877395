"""What a checked token says: claims become a principal. Workloads (CI runs) are trusted by issuer and subject, not by role claims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from controlplane.domain.errors import ForbiddenError, UnauthenticatedError
from controlplane.domain.identity import CI, TENANT_OWNER, Principal, is_role
from controlplane.domain.names import Name
from controlplane.domain.wire import Wire

TENANTS_CLAIM = "seawall_tenants"
APPS_CLAIM = "seawall_apps"

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=500)]


class NoRoleError(ForbiddenError):
    """A valid token of a person that has no role that Seawall knows (claims `roles` and `scp`): ask for one.

    `principal`: whose it is.
    """

    code = "no-role"

    def __init__(self, principal: Principal) -> None:
        detail = "Your token is valid but has no role that Seawall knows (claims roles and scp). Ask for one."
        super().__init__(detail)
        self.principal = principal


class Workload(Wire):
    """CI runs that may act for some apps: tokens of this issuer whose subject fits.

    In `subject` a `*` stands for anything but a colon, so that `repo:acme/*:ref:refs/heads/main` never fits a subject with
    more parts than it names.
    """

    issuer: Url
    subject: Annotated[str, Field(min_length=1, max_length=500)]
    apps: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100)]

    def fits(self, issuer: str, subject: str) -> bool:
        """Whether a token of this issuer and subject is meant."""
        pattern = "[^:]*".join(re.escape(part) for part in self.subject.split("*"))
        return issuer == self.issuer and re.fullmatch(pattern, subject) is not None


def principal_from_claims(claims: Mapping[str, Any], *, people_issuer: str, workloads: Sequence[Workload]) -> Principal:
    """Say whom checked claims stand for.

    Workload rules come first and give `ci` for their apps, whatever roles the token claims. Only the issuer of people may
    claim roles (`roles` as a list, or `scp` as words). Raises UnauthenticatedError `unknown-workload`, NoRoleError `no-role`.
    """
    issuer, subject = str(claims.get("iss", "")), str(claims.get("sub", ""))
    if not subject:
        raise UnauthenticatedError("The token names no subject (sub).", code="invalid-token")
    apps = frozenset(app for rule in workloads if rule.fits(issuer, subject) for app in rule.apps)
    identity = f"oidc:{issuer}#{subject}"
    if apps:
        actor = str(claims.get("actor") or claims.get("user_login") or subject)
        return Principal(id=identity, name=actor, kind="workload", roles=frozenset({CI}), apps=apps)
    if issuer != people_issuer:
        detail = f"No workload rule trusts the subject {subject!r} of {issuer}. Ask a platform admin to add one."
        raise UnauthenticatedError(detail, code="unknown-workload")
    return _person(claims, identity, subject)


def set_off_by(principal: Principal) -> str:
    """The person whom a CI run's token names as having set it off; empty if it names none, or a bot."""
    named = principal.kind == "workload" and not principal.id.endswith(f"#{principal.name}")
    return principal.name if named and not principal.name.endswith("[bot]") else ""


def _person(claims: Mapping[str, Any], identity: str, subject: str) -> Principal:
    roles = frozenset(role for role in [*_words(claims.get("roles")), *_words(claims.get("scp"))] if is_role(role))
    tenants = frozenset(_words(claims.get(TENANTS_CLAIM))) if TENANT_OWNER in roles else frozenset()
    apps = frozenset(_words(claims.get(APPS_CLAIM))) if CI in roles else frozenset()
    name = str(claims.get("name") or claims.get("preferred_username") or subject)
    email = str(claims.get("email") or claims.get("preferred_username") or "")
    issued = claims.get("iat")
    made = Principal(
        id=identity,
        name=name,
        email=email,
        kind="person",
        roles=roles,
        tenants=tenants,
        apps=apps,
        issued_at=datetime.fromtimestamp(issued, UTC) if isinstance(issued, int | float) else None,
    )
    if not roles:
        raise NoRoleError(made)
    return made


def _words(claim: Any) -> list[str]:
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []
