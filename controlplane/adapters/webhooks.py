"""Webhooks over aiohttp: addresses are checked where they are resolved, so that no name can turn into another address in between."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signer

from controlplane.domain.events_out import header_text
from controlplane.domain.secret_refs import SecretRef
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
            _check_literal(url, allow_private=allow_private)
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(allow_private=allow_private), use_dns_cache=False, force_close=True
            )
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False) as session,
                session.post(url, data=body, headers=dict(headers), allow_redirects=False) as answer,
            ):
                return _judge(answer.status)
        except RefusedAddressError as error:
            return Reply(f"refused: {error}")
        except TimeoutError:
            return Reply(f"no answer within {self._timeout.total:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(f"{type(error).__name__}: {_cause(error)}")


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


def sign(webhook: Webhook, secrets: Secrets, event_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Headers of Standard Webhooks 1.0: the id stays the same over all attempts; each secret signs. Raises SecretUnavailableError."""
    signers: Sequence[Signer] = [_signer(secrets, ref) for ref in webhook.secrets]
    webhook_id = header_text(event_id)
    signatures = [signer.sign(webhook_id, now, body.decode()) for signer in signers]
    return {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "user-agent": "seawall",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _signer(secrets: Secrets, ref: SecretRef) -> Signer:
    try:
        return Signer(secrets.read(ref).decode())
    except (ValueError, EmptyWebhookSecretError):
        # From None: the library's words may hold the secret.
        raise SecretUnavailableError(f"The secret in {ref} is not `whsec_` and base64.") from None
