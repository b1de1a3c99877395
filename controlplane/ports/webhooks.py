"""Calling webhook subscribers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Reply:
    """What a subscriber answered. `error` empty: it has the event. `gone`: it never wants one again."""

    error: str = ""
    gone: bool = False


class WebhookSender(Protocol):
    """Sends one request."""

    async def send(self, url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Reply:
        """POST `body`; an address that may not be called, a redirect, a timeout and any answer but 2xx are errors in the reply."""
        ...
