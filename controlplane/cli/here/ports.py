"""Ports that stay the same over restarts."""

from __future__ import annotations

from pathlib import Path

from controlplane.adapters.embedded.processes import accepts, free_port


def kept_port(note: Path, wish: int = 0) -> int:
    """The port written in `note`; at first `wish` if nobody listens there, else any free one."""
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(wish if wish and not accepts(wish) else free_port()))
    return int(note.read_text())
