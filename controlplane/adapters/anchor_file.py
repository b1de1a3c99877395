"""Heads of the audit chain in an append-only file of JSON lines: on a volume, or a share, that the database's owner can't write to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from controlplane.domain.audit_chain import Anchor
from controlplane.domain.audit_lines import anchor_line, read_anchors
from controlplane.domain.errors import DependencyError


class AnchorFile:
    """See `controlplane.ports.anchors.Anchors`. Several processes may add to one file: a line is one write at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, anchor: Anchor) -> None:
        """Append a line and wait until it is on the disk."""
        try:
            await asyncio.to_thread(self._append, anchor_line(anchor))
        except OSError as error:
            raise self._away("written to", error) from error

    async def read(self) -> Sequence[Anchor]:
        """Read every line; a file that is not there yet holds none."""
        try:
            return await asyncio.to_thread(self._read)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._away("read", error) from error

    def _append(self, line: bytes) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _read(self) -> tuple[Anchor, ...]:
        with self._path.open() as lines:
            return tuple(read_anchors(lines))

    def _away(self, what: str, error: OSError) -> DependencyError:
        detail = f"The audit trail's anchor file {self._path} can't be {what} ({type(error).__name__})."
        return DependencyError(f"{detail} Check SEAWALL_AUDIT_ANCHORS and the volume.", code="anchor-unavailable")
