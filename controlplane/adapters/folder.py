"""Files in a directory, each written beside its place and moved over it, so that a reader never sees half of one."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from controlplane.domain.errors import DependencyError


class Folder:
    """See `controlplane.ports.blobs.Blobs`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def replace(self, folder: str, files: Mapping[str, str]) -> int:
        """Write what differs, remove what is not named."""
        try:
            return await asyncio.to_thread(self._replace, folder, files)
        except OSError as error:
            detail = f"Files can't be kept in {self._root} ({type(error).__name__}). Check the volume and its rights."
            raise DependencyError(detail, code="blobs-unavailable") from error

    def _replace(self, folder: str, files: Mapping[str, str]) -> int:
        home = self._root / folder
        if not files and not home.is_dir():
            return 0
        home.mkdir(parents=True, exist_ok=True)
        changed = sum(_write(home / name, text.encode()) for name, text in files.items())
        if not folder:
            return changed
        gone = [path for path in home.iterdir() if path.is_file() and path.name not in files]
        for path in gone:
            path.unlink()
        if not files:
            home.rmdir()
        return changed + len(gone)


def _write(path: Path, content: bytes) -> bool:
    if path.is_file() and path.read_bytes() == content:
        return False
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    Path(out.name).chmod(0o640)
    Path(out.name).replace(path)
    return True
