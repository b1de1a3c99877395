"""Secrets from the environment and from a folder of files (as Kubernetes mounts them)."""

from __future__ import annotations

import os
from pathlib import Path

from controlplane.domain.secret_refs import SecretRef
from controlplane.ports.secrets import SecretUnavailableError


class LocalSecrets:
    """See `controlplane.ports.secrets.Secrets`. `folder` None: no files."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def read(self, ref: SecretRef) -> bytes:
        """Read one secret."""
        value = os.environ.get(ref.env, "").encode() if ref.env else self._file(ref)
        if not value.strip():
            raise SecretUnavailableError(f"The secret in {ref} is missing or empty; give it to this process.")
        return value.strip()

    def _file(self, ref: SecretRef) -> bytes:
        if self._folder is None or ref.file is None:
            raise SecretUnavailableError(f"The secret in {ref} can't be read: SEAWALL_SECRETS names no folder.")
        try:
            return (self._folder / ref.file).read_bytes()
        except OSError as error:
            raise SecretUnavailableError(f"The secret in {ref} can't be read ({type(error).__name__}).") from error
