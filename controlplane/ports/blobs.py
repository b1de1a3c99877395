"""A place outside of Seawall that files are kept in: a folder, or a blob container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Blobs(Protocol):
    """Files by folder. Readers see each file whole, old or new."""

    async def replace(self, folder: str, files: Mapping[str, str]) -> int:
        """Make a folder hold exactly these files (name to text); an empty mapping removes it. Returns how many changed.

        `folder` is a path of DNS labels such as `clusters/aks-1/acme-fr`, or empty for the top, where other files are left alone.
        Raises `DependencyError` (`blobs-unavailable`).
        """
        ...
