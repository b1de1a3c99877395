"""OpenID Connect bearer tokens: signature, issuer, audience, times; then claims become a principal."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import httpx
import orjson
import structlog
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry

from controlplane.domain.errors import UnauthenticatedError
from controlplane.domain.federation import Workload, principal_from_claims
from controlplane.domain.identity import Principal

from .jwks import IssuerKeys

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones only: with a shared secret, whoever checks could also sign."""
SKEW_SECONDS: Final = 60
MAX_TOKEN: Final = 16_384
TIMEOUT_SECONDS: Final = 3.0

log = structlog.get_logger("seawall.oidc")


class OidcTokens:
    """Checks tokens of the people's issuer, and of the issuers that workload rules name."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        workloads: Sequence[Workload] = (),
        now: Callable[[], datetime],
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._workloads = tuple(workloads)
        self._now = now
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=True)
        trusted = {issuer, *(rule.issuer for rule in workloads)} - {""}
        self._keys = {name: IssuerKeys(name, self._client) for name in trusted}
        self._registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)

    async def authenticate(self, credential: str) -> Principal:
        """See `controlplane.ports.identity.Authenticator`. Codes: `invalid-token`, `expired-token`, `unknown-issuer`, `unknown-key`."""
        header, unchecked = _read(credential)
        issuer = unchecked.get("iss")
        keys = self._keys.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise UnauthenticatedError("The token's issuer is not trusted here.", code="unknown-issuer")
        kid = header.get("kid")
        key = await keys.find(kid if isinstance(kid, str) else None)
        try:
            token = jwt.decode(credential, key, registry=self._registry)
            self._claims().validate(token.claims)
        except ExpiredTokenError as error:
            raise UnauthenticatedError("The token has expired. Sign in again.", code="expired-token") from error
        except (JoseError, ValueError) as error:
            log.info("token refused", issuer=issuer, error=str(error)[:200])
            detail = f"The token can't be accepted ({type(error).__name__}). Sign in again."
            raise UnauthenticatedError(detail, code="invalid-token") from error
        if token.claims["iss"] != keys.issuer:
            raise UnauthenticatedError("The token's issuer is not whose key signed it.", code="invalid-token")
        return principal_from_claims(token.claims, people_issuer=self._issuer, workloads=self._workloads)

    def _claims(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self._now().timestamp()),
            leeway=SKEW_SECONDS,
            iss={"essential": True},
            sub={"essential": True},
            exp={"essential": True},
            aud={"essential": True, "value": self._audience},
        )

    async def close(self) -> None:
        """Close the connections to issuers."""
        await self._client.aclose()


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not yet checked: they only say whose key to check with."""
    parts = token.split(".")
    detail = "This is neither an API key (they start with sw_) nor a signed token."
    if len(parts) != 3 or len(token) > MAX_TOKEN:
        raise UnauthenticatedError(detail, code="unknown-credential")
    try:
        header, claims = (orjson.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in parts[:2])
    except (ValueError, binascii.Error) as error:
        raise UnauthenticatedError(detail, code="unknown-credential") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise UnauthenticatedError(detail, code="unknown-credential")
    return header, claims
