"""nats-server from its wheel, as a child process on loopback, JetStream synced to disk on every write."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from controlplane.domain.errors import DependencyError

from .processes import Child, accepts, free_port

_CONFIG = """
listen: "127.0.0.1:{port}"
server_name: seawall
jetstream {{ store_dir: "{store}", sync_interval: always }}
{authorization}
"""


class EmbeddedNats:
    """One nats-server over a data folder. `authorization` is a block of its configuration (users and permissions per role)."""

    def __init__(self, folder: Path, authorization: str = "") -> None:
        self.folder = folder.resolve()
        self.authorization = authorization
        self.port = 0
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """JetStream's files."""
        return self.folder / "jetstream"

    def start(self) -> EmbeddedNats:
        """Write the configuration, start the server, wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "port"
        if not note.exists():
            note.write_text(str(free_port()))
        self.port = int(note.read_text())
        config = self.folder / "nats.conf"
        config.write_text(_CONFIG.format(port=self.port, store=self.store, authorization=self.authorization))
        config.chmod(0o600)
        self.child = Child("nats-server", [str(_binary()), "-c", str(config)], self.folder / "nats.log")
        self.child.await_ready(lambda: accepts(self.port))
        return self

    def kill(self) -> None:
        """SIGKILL."""
        if self.child is not None:
            self.child.kill()
            self.child.process.wait(5)

    def stop(self) -> None:
        """Lame duck off: close clients and files, end."""
        if self.child is not None:
            self.child.stop()
            self.child = None

    def wipe(self) -> None:
        """Delete every stream (the server must be stopped): JetStream is a copy, PostgreSQL decides."""
        shutil.rmtree(self.store, ignore_errors=True)

    def __enter__(self) -> EmbeddedNats:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _binary() -> Path:
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else Path(shutil.which("nats-server") or "")
    if not found.is_file():
        raise DependencyError(
            "nats-server is not installed; install Seawall with its extra `embedded`.", code="nats-not-installed"
        )
    return found
