"""One folder per run, and the removal of those whose run was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

_RUN, _NEW, _LOCK = "run-", "new-", "owner.lock"


class RunFolder:
    """A fresh folder under `parent`, locked for as long as its owner lives and removed by `close`."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        # Locked before it gets the name that a sweep looks for, so that nobody sweeps it in between.
        fresh = Path(tempfile.mkdtemp(prefix=_NEW, dir=parent))
        self._lock = (fresh / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = fresh.rename(parent / (_RUN + fresh.name.removeprefix(_NEW)))

    def close(self) -> None:
        """Remove the folder and let go of the lock."""
        shutil.rmtree(self.path)
        self._lock.close()


def _sweep(parent: Path) -> None:
    """Remove the folders that nobody holds any more: their owner was killed and could not."""
    for folder in parent.glob(f"{_RUN}*"):
        lock = _take(folder / _LOCK)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()


def _take(path: Path) -> IO[bytes] | None:
    try:
        handle = os.fdopen(os.open(path, os.O_RDWR), "r+b")
    except FileNotFoundError:
        return None  # another sweep was faster
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle
