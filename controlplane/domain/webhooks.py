"""Webhook subscribers (`PUT /v1/webhooks/NAME`): which events go where, how often we try, and which addresses are refused.

Signatures and headers: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature). Body: the event as a CloudEvent in the
JSON format. With `format: grafana` the body is an annotation (`domain.annotations`), and a bearer token says who we are.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from datetime import timedelta
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from controlplane.domain.secret_refs import SecretRef
from controlplane.domain.triggers import MAX_FILTER
from controlplane.domain.wire import Wire

RETRIES: Final = tuple(timedelta(seconds=s) for s in (1, 5, 30, 120, 600, 1800, 7200, 18000, 36000))
"""Waits after each failed attempt: about 18 hours in all, then the delivery is dead until somebody redrives it."""

TIMEOUT_SECONDS: Final = 15.0
"""As the Standard Webhooks specification recommends (15 to 30 s)."""

# Carrier-grade NAT (RFC 6598) holds Alibaba's metadata service; Azure's wire server is a public-looking address.
_REFUSED = tuple(ipaddress.ip_network(n) for n in ("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128"))


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("a webhook's url starts with https:// (or http:// inside your own network) and names a host")
    if parts.username or parts.password:
        raise ValueError("a webhook's url holds no user or password: the signature proves who we are")
    if parts.fragment:
        raise ValueError("a webhook's url has no fragment")
    return text


def _may_carry_token(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith((".svc", ".svc.cluster.local")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Url = Annotated[str, Field(max_length=2048), AfterValidator(_url)]
"""Where we may POST: http or https, no user, no fragment."""


class Webhook(Wire):
    """A subscriber."""

    url: Url
    secrets: tuple[SecretRef, ...] = Field(
        default=(),
        max_length=3,
        description="Signing secrets (`whsec_...`), at least one; each signs, so that one can be replaced. None for grafana.",
    )
    format: Literal["cloudevents", "grafana"] = Field(
        default="cloudevents",
        exclude_if=lambda v: v == "cloudevents",  # a subscriber of before reads as it did
        description="grafana: an annotation, for the url of Grafana's /api/annotations.",
    )
    token: SecretRef | None = Field(
        default=None,
        exclude_if=lambda v: v is None,
        description="A bearer token, for grafana: that of a service account that may create annotations.",
    )
    types: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=("*",), min_length=1, max_length=20, description="Event types with *, such as dev.seawall.rollout.*"
    )
    filter: str = Field(
        default="true",
        min_length=1,
        max_length=MAX_FILTER,
        description="CEL over `event`: type, subject, tenant, data.",
    )
    allow_private: bool = Field(
        default=True, description="Whether addresses of private networks and loopback may be called."
    )

    @model_validator(mode="after")
    def _known_by_one_means(self) -> Self:
        if self.format == "cloudevents" and (not self.secrets or self.token):
            raise ValueError("CloudEvents are signed: give secrets, and no token")
        if self.format == "grafana":
            if self.secrets or not self.token:
                raise ValueError("Grafana knows a token: give token, and no secrets")
            if not _may_carry_token(self.url):
                raise ValueError("a token goes over https, or over http inside the cluster (a .svc name, or loopback)")
        return self

    def wants(self, event_type: str) -> bool:
        """Whether one of its patterns fits a type."""
        return any(fnmatch.fnmatchcase(event_type, pattern) for pattern in self.types)


def retry_after(attempts: int) -> timedelta | None:
    """How long to wait after the `attempts`-th failure; None: it is dead."""
    return RETRIES[attempts - 1] if 1 <= attempts <= len(RETRIES) else None


def refused_address(address: str, *, allow_private: bool) -> str:
    """Why an address is never called, or an empty string.

    Link-local addresses hold the metadata services of every cloud (169.254.169.254, fe80::/10); reaching one from here would hand
    its answer, and an identity with it, to whoever wrote the subscriber's address.
    """
    ip = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_link_local or any(ip in network for network in _REFUSED if network.version == ip.version):
        return f"{address} is link-local or a metadata service"
    if ip.is_multicast or ip.is_unspecified or (ip.is_reserved and not ip.is_loopback):
        return f"{address} is not the address of a host"
    if not allow_private and not ip.is_global:
        return f"{address} is private, and the webhook says allowPrivate: false"
    return ""
