"""An issuer's keys: OpenID Connect Discovery 1.0, JWKS (RFC 7517), fetched when they are needed and not more often."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from controlplane.domain.errors import DependencyError, UnauthenticatedError

MAX_AGE: Final = 3600.0
"""Seconds after which keys are fetched again, so that a withdrawn one ends."""
USABLE_AGE: Final = 86_400.0
"""Seconds for which keys are still used while the issuer does not answer."""
MIN_INTERVAL: Final = 10.0
"""Seconds between two fetches: tokens with invented key ids must not become load on the issuer."""
MAX_BYTES: Final = 1_000_000

log = structlog.get_logger("seawall.oidc")


class IssuerUnavailableError(DependencyError):
    """The issuer's keys can't be fetched and none are known."""

    code = "issuer-unavailable"


class IssuerKeys:
    """The public keys of one issuer."""

    def __init__(self, issuer: str, client: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = issuer
        self._client = client
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None) -> Key:
        """The key of that id; an unknown id is looked for once more at the issuer. Raises UnauthenticatedError `unknown-key`."""
        if self._keys is None or self._clock() - self._fetched > MAX_AGE:
            await self._refresh()
        found = self._known(kid)
        if found is None:
            await self._refresh()
            found = self._known(kid)
        if found is None:
            detail = "The token is signed with a key that its issuer does not publish. Sign in again."
            raise UnauthenticatedError(detail, code="unknown-key")
        return found

    def _known(self, kid: str | None) -> Key | None:
        keys = list(self._keys or ())
        if kid is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.kid == kid), None)

    async def _refresh(self) -> None:
        """Fetch the keys, unless that was just tried. Keeps the known ones while the issuer is away, for a day."""
        async with self._lock:
            now = self._clock()
            if now - self._tried >= MIN_INTERVAL:
                self._tried = now
                try:
                    self._keys = await self._fetch()
                    self._fetched = now
                except (httpx.HTTPError, ValueError, KeyError, TypeError, JoseError) as error:
                    log.warning(
                        "keys not fetched", issuer=self.issuer, error=type(error).__name__, detail=str(error)[:200]
                    )
            if self._keys is None or now - self._fetched > USABLE_AGE:
                detail = f"The keys of {self.issuer} can't be fetched, so its tokens can't be checked. Use an API key meanwhile."
                raise IssuerUnavailableError(detail)

    async def _fetch(self) -> KeySet:
        about = await self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if about["issuer"] != self.issuer:
            raise ValueError(f"the discovery document is of {about['issuer']}")
        found: Any = await self._get(about["jwks_uri"])
        return KeySet.import_key_set(found)

    async def _get(self, url: str) -> dict[str, Any]:
        if not is_safe(url):
            raise ValueError(f"{url} is neither https nor on this machine")
        answer = await self._client.get(url, follow_redirects=False)
        answer.raise_for_status()
        if answer.status_code != httpx.codes.OK or len(answer.content) > MAX_BYTES:
            raise ValueError(f"{url} answered {answer.status_code} with {len(answer.content)} bytes")
        content: dict[str, Any] = answer.json()
        return content


def is_safe(url: str) -> bool:
    """Whether keys may be fetched there: https, or plain http on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
