"""Checking who calls."""

from __future__ import annotations

from typing import Protocol

from controlplane.domain.identity import Principal


class Authenticator(Protocol):
    """Turns a bearer credential into a principal."""

    async def authenticate(self, credential: str) -> Principal:
        """Check an API key or a token. Raises UnauthenticatedError; a part that does not answer is a DependencyError."""
        ...
