"""Secrets by reference."""

from __future__ import annotations

from typing import Protocol

from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef


class SecretUnavailableError(DependencyError):
    """A secret that configuration names can't be read by this process; nothing is taken for signed meanwhile."""

    code = "secret-unavailable"


class Secrets(Protocol):
    """Reads secrets when they are needed, so that a replaced one counts at once."""

    def read(self, ref: SecretRef) -> bytes:
        """The secret's bytes without the trailing newline; raises SecretUnavailableError."""
        ...
