"""Webhooks over aiohttp: addresses are checked where they are resolved, so that no name can turn into another address in between."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import EmptyWebhookSecretError, WebhookVerificationError
from standardwebhooks.webhooks import Webhook as Signer

from controlplane.domain.annotations import annotation_of
from controlplane.domain.events_out import Change, header_text
from controlplane.domain.secret_refs import SecretRef
from controlplane.domain.sources import BadSignatureError
from controlplane.domain.webhooks import TIMEOUT_SECONDS, Webhook, refused_address
from controlplane.ports.secrets import Secrets, SecretUnavailableError
from controlplane.ports.webhooks import Reply

_GONE: Final = 410


class RefusedAddressError(OSError):
    """The name leads to an address that is never called."""


class GuardedResolver(AbstractResolver):
    """Resolves names; an answer with one refused address is refused whole."""

    def __init__(self, *, allow_private: bool) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a host."""
        found = await self._inner.resolve(host, port, family)
        for result in found:
            check(result["host"], allow_private=self._allow_private)
        return found

    async def close(self) -> None:
        """Nothing to let go."""
        await self._inner.close()


def check(address: str, *, allow_private: bool) -> None:
    """Raise RefusedAddressError for an address that is never called."""
    reason = refused_address(address, allow_private=allow_private)
    if reason:
        raise RefusedAddressError(reason)


class HttpWebhooks:
    """See `controlplane.ports.webhooks.WebhookSender`. No connection is kept: the next one is checked anew."""

    def __init__(self, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Reply:
        """POST once."""
        try:
            async with guarded_post(url, body, headers, allow_private=allow_private, limit=self._timeout) as answer:
                return _judge(answer.status)
        except UNREACHABLE as error:
            return Reply(failure_of(error, self._timeout))


UNREACHABLE: Final = (TimeoutError, aiohttp.ClientError, OSError, ValueError)
"""What calling an address that somebody configured may raise."""


@asynccontextmanager
async def guarded_post(
    url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, limit: aiohttp.ClientTimeout
) -> AsyncIterator[aiohttp.ClientResponse]:
    """POST once to an address that is checked where it is resolved; redirects are not followed, proxies not used."""
    _check_literal(url, allow_private=allow_private)
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(allow_private=allow_private), use_dns_cache=False, force_close=True
    )
    async with (
        aiohttp.ClientSession(connector=connector, timeout=limit, trust_env=False) as session,
        session.post(url, data=body, headers=dict(headers), allow_redirects=False) as answer,
    ):
        yield answer


def failure_of(error: BaseException, timeout: aiohttp.ClientTimeout) -> str:
    """What went wrong, for a person; never a part of what was sent."""
    if isinstance(error, RefusedAddressError):
        return f"refused: {error}"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout.total:g} s"
    return f"{type(error).__name__}: {_cause(error)}"


def _judge(status: int) -> Reply:
    if 200 <= status < 300:
        return Reply()
    if 300 <= status < 400:
        return Reply(f"answered {status}; redirects are not followed, give the webhook its final address")
    return Reply(f"answered {status}", gone=status == _GONE)


def _check_literal(url: str, *, allow_private: bool) -> None:
    """Addresses written as such are not resolved, so they are checked here."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return
    check(host, allow_private=allow_private)


def _cause(error: BaseException) -> str:
    """The refusal inside a connector's error, else the error's own words."""
    inner = error.__cause__ or error.__context__
    return str(inner if isinstance(inner, RefusedAddressError) else error)[:200]


def request_of(webhook: Webhook, secrets: Secrets, change: Change, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one delivery, in the subscriber's format. Raises SecretUnavailableError."""
    if webhook.format == "grafana" and webhook.token is not None:
        body = orjson.dumps(annotation_of(change))
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "seawall"}
        return body, {**headers, "authorization": f"Bearer {_token(secrets, webhook.token)}"}
    body = orjson.dumps(change.structured(), default=str)
    return body, sign(webhook, secrets, change.id, now, body)


def _token(secrets: Secrets, ref: SecretRef) -> str:
    found = secrets.read(ref).strip()
    if not found or not found.isascii() or any(byte <= 0x20 for byte in found):
        raise SecretUnavailableError(f"The secret in {ref} is no token: visible ASCII on one line.")
    return found.decode()


def sign(webhook: Webhook, secrets: Secrets, event_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Headers of Standard Webhooks 1.0: the id stays the same over all attempts; each secret signs. Raises SecretUnavailableError."""
    return signed(webhook.secrets, secrets, event_id, now, body, "application/cloudevents+json; charset=utf-8")


def signed(
    refs: Sequence[SecretRef], secrets: Secrets, message_id: str, now: datetime, body: bytes, media_type: str
) -> dict[str, str]:
    """Headers that sign a body with each of some secrets. Raises SecretUnavailableError."""
    signers: Sequence[Signer] = [_signer(secrets, ref) for ref in refs]
    webhook_id = header_text(message_id)
    signatures = [signer.sign(webhook_id, now, body.decode()) for signer in signers]
    return {
        "content-type": media_type,
        "user-agent": "seawall",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def verify(refs: Sequence[SecretRef], secrets: Secrets, headers: Mapping[str, str], body: bytes) -> str:
    """Check a body that somebody signed with one of some secrets, within five minutes; returns the message's id.

    Raises BadSignatureError, SecretUnavailableError.
    """
    for ref in refs:
        # ValueError: the library takes signatures apart without a look.
        with contextlib.suppress(WebhookVerificationError, ValueError):
            _signer(secrets, ref).verify(body, dict(headers), json_parse=False)
            return {name.lower(): value for name, value in headers.items()}["webhook-id"]
    raise BadSignatureError(
        "The request carries no Standard Webhooks signature of this endpoint that is younger than five minutes. Nothing was"
        " stored. Compare the secret and the clock on both sides."
    )


def _signer(secrets: Secrets, ref: SecretRef) -> Signer:
    try:
        return Signer(secrets.read(ref).decode())
    except (ValueError, EmptyWebhookSecretError):
        # From None: the library's words may hold the secret.
        raise SecretUnavailableError(f"The secret in {ref} is not `whsec_` and base64.") from None
