"""How a simulated fleet's answers travel between processes: one JSON object per line, many calls in flight on one connection."""

from __future__ import annotations

import re
from typing import Any

import orjson

from controlplane.domain.errors import SeawallError
from controlplane.ports.clusters import (
    AlreadyExistsError,
    ClusterUnavailableError,
    FencedError,
    NamespaceGoneError,
    QuotaExceededError,
    RejectedError,
)

LIMIT = 64 * 1024 * 1024
"""Bytes of the longest line: a dump of a large fleet."""

_ERRORS: dict[str, type[SeawallError]] = {
    cls.__name__: cls
    for cls in (
        AlreadyExistsError,
        ClusterUnavailableError,
        FencedError,
        NamespaceGoneError,
        QuotaExceededError,
        RejectedError,
    )
}
_TCP = re.compile(r"^(?P<host>127\.0\.0\.1|localhost|\[::1\]):(?P<port>\d{1,5})$")


def encode(message: dict[str, Any]) -> bytes:
    """One line."""
    return orjson.dumps(message) + b"\n"


def encode_error(error: SeawallError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "type": type(error).__name__,
        "detail": error.detail,
        "code": error.code,
        "retryAfter": error.retry_after,
        "extra": error.extra,
    }


def decode_error(sent: dict[str, Any]) -> SeawallError:
    """The error that `encode_error` wrote."""
    cls = _ERRORS.get(sent["type"], SeawallError)
    return cls(sent["detail"], code=sent["code"], retry_after=sent["retryAfter"], extra=sent["extra"])


def parse_address(address: str) -> str | tuple[str, int]:
    """`unix:/path` or `127.0.0.1:port`: a path, or host and port. The fleet has no passwords, so other hosts are refused."""
    if address.startswith("unix:"):
        return address.removeprefix("unix:")
    match = _TCP.match(address)
    if match is None:
        raise ValueError(f"{address!r} is neither unix:/path nor 127.0.0.1:port")
    return match["host"].strip("[]"), int(match["port"])
