"""PostgreSQL, nats-server, a fleet, the API, the relay and two workers, over one data folder."""

from __future__ import annotations

import fcntl
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from controlplane.adapters.embedded.nats import EmbeddedNats
from controlplane.adapters.embedded.postgres import EmbeddedPostgres
from controlplane.adapters.embedded.processes import Child
from controlplane.adapters.nats import NatsRole, nats_authorization, new_nkey
from controlplane.adapters.postgres import migrate
from controlplane.cli.failures import CommandError
from controlplane.cli.profile import Profile

from .first_key import admin_key, write_secret
from .fleets import (
    FleetKind,
    GivenCluster,
    LocalFleet,
    LocalKubernetes,
    Say,
    Simulated,
    ended,
    install_fence,
    kubeconfig_of,
)
from .ports import kept_port

WORKERS = 2
API_PORT = 8080


class Stack:
    """Everything, as children of this process. They end with it, even when it is killed."""

    def __init__(self, data: Path, kind: FleetKind, say: Say, port: int = API_PORT) -> None:
        self.data = data.resolve()
        self.kind = kind
        self._say = say
        self._lock: IO[str] | None = None
        self._claim()
        self.fleet: LocalFleet = _fleet(kind, self.data, say)
        self._postgres = EmbeddedPostgres(self.data / "postgres")
        self._nats = EmbeddedNats(self.data / "nats", self._authorization())
        self._children: list[Child] = []
        self._port = kept_port(self.data / "api-port", port)
        self.key = ""

    @property
    def url(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def logs(self) -> Path:
        """Where the processes write."""
        return self.data / "logs"

    @property
    def profile(self) -> Profile:
        """How the command line reaches it."""
        return Profile(self.url, self.key, self.fleet.title)

    def start(self) -> Self:
        """Start everything and wait until the API is ready. Raises SeawallError; then nothing is left running."""
        try:
            for what, step in self._steps():
                self._say(f"starting {what}")
                step()
        except BaseException:
            self.stop()
            raise
        return self

    def check(self) -> None:
        """Raise DependencyError if a part has ended by itself."""
        self.fleet.check()
        for child in (self._postgres.child, self._nats.child, *self._children):
            if child is not None and not child.running():
                raise ended(child)

    def stop(self) -> None:
        """End everything, in the reverse order; what is in hand is finished first."""
        for child in self._children:
            child.kill(signal.SIGTERM)
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        self.fleet.stop()
        self._nats.stop()
        self._postgres.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _steps(self) -> list[tuple[str, Callable[[], object]]]:
        return [
            (f"the fleet ({self.fleet.title})", self.fleet.start),
            ("nats-server", self._nats.start),
            ("PostgreSQL", self._postgres.start),
            ("the schema, the first key", self._prepare),
            ("the fence in the cluster", self._install),
            (f"API, relay, {WORKERS} workers", self._start_processes),
        ]

    def _prepare(self) -> None:
        migrate.upgrade(self._postgres.url())
        migrate.set_role_passwords(self._postgres.url(), None)
        self.key = admin_key(self._postgres.url(user="sw_platform"), self.data / "admin-key")

    def _install(self) -> None:
        clusters = self.data / "clusters.yaml"
        clusters.write_text(json.dumps({self.fleet.cluster: self.fleet.access()}))
        install_fence(clusters, self.fleet.cluster)

    def _start_processes(self) -> None:
        api = self._spawn("API", ["serve"], NatsRole.API)
        self._spawn("relay", ["relay"], NatsRole.RELAY)
        for number in range(1, WORKERS + 1):
            self._spawn(f"worker {number}", ["work"], NatsRole.WORK)
        api.await_ready(lambda: _answers(self.url), seconds=120)
        self.check()

    def _spawn(self, name: str, command: list[str], role: NatsRole) -> Child:
        argv = [sys.executable, "-m", "controlplane.cli", *command]
        env = {f"SEAWALL_{key.upper()}": value for key, value in {**self._urls(), **self._common(role)}.items()}
        child = Child(name, argv, self.logs / f"{name.replace(' ', '-').lower()}.log", env=env)
        self._children.append(child)
        return child

    def _urls(self) -> dict[str, str]:
        return {
            f"database_url_{role}": self._postgres.url(user=f"sw_{role}") for role in ("platform", "tenant", "engine")
        }

    def _common(self, role: NatsRole) -> dict[str, str]:
        return {
            "nats_url": self._nats.url,
            "nats_credentials": str(self._seed(role)),
            "clusters": str(self.data / "clusters.yaml"),
            "listen": f"127.0.0.1:{self._port}",
            "public_url": self.url,
            "fleet_name": self.fleet.title,
        }

    def _seed(self, role: NatsRole) -> Path:
        return self.data / "nats" / f"{role.value}.nk"

    def _authorization(self) -> str:
        """A key per role, made at the first start."""
        (self.data / "nats").mkdir(exist_ok=True)
        public: dict[NatsRole, str] = {}
        note = self.data / "nats" / "public-keys.json"
        if note.exists():
            known = json.loads(note.read_text())
            public = {role: known[role.value] for role in NatsRole if role.value in known}
        for role in NatsRole:
            if role not in public:
                seed, public[role] = new_nkey()
                write_secret(self._seed(role), seed)
        note.write_text(json.dumps({role.value: key for role, key in public.items()}))
        return nats_authorization(public)

    def _claim(self) -> None:
        """One `seawall up` per folder, and one kind of fleet over its life. Raises CommandError."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._lock = (self.data / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            detail = f"Another `seawall up` or `seawall demo` runs over {self.data}."
            raise CommandError(detail, hint="End it, or choose another folder with --data.") from error
        note = self.data / "fleet"
        before = note.read_text() if note.exists() else self.kind.value
        if before != self.kind.value:
            detail = f"The data in {self.data} belongs to the fleet `{before}`."
            raise CommandError(detail, hint=f"Use --fleet {before}, or another folder with --data.")
        note.write_text(self.kind.value)


def _fleet(kind: FleetKind, data: Path, say: Say) -> LocalFleet:
    match kind:
        case FleetKind.SIMULATED:
            return Simulated(data / "fleet-simulated")
        case FleetKind.LOCAL:
            return LocalKubernetes(data / "fleet-local", say)
        case FleetKind.KUBECONFIG:
            return GivenCluster(kubeconfig_of())


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
