"""Building the local control plane's programs: from the cache, by one builder at a time, whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.adapters.kubernetes.local import LocalControlPlaneError, ensure_binaries
from controlplane.adapters.kubernetes.local.build import (
    ETCD,
    KUBERNETES,
    KWOK,
    PROMETHEUS,
    Binary,
    ensure_built,
    find_go,
)


def environ(cache: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "KUBEBUILDER_ASSETS"}
    # Go's own build cache would move with XDG_CACHE_HOME, and every build here would start from nothing.
    compiled = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "go-build"
    return {"GOCACHE": str(compiled), **kept, "XDG_CACHE_HOME": str(cache)}


def test_the_versions_come_from_the_go_mod_files() -> None:
    assert [module.version for module in (KUBERNETES, ETCD, KWOK, PROMETHEUS)] == [
        "v1.36.2",
        "v3.6.12",
        "v0.8.0",
        "v0.316.0",
    ]


def test_the_built_api_server_says_its_version() -> None:
    program = (
        ensure_binaries({key: value for key, value in os.environ.items() if key != "KUBEBUILDER_ASSETS"})
        / "kube-apiserver"
    )
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "Kubernetes v1.36.2"


def test_two_builders_at_once_build_once_and_a_third_uses_the_cache(tmp_path: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(lambda _: ensure_built((ETCD,), environ(tmp_path), said.append), range(2)))
    folders.add(ensure_built((ETCD,), environ(tmp_path), said.append))
    assert len(folders) == 1
    assert (folders.pop() / "etcd").stat().st_mode & stat.S_IXUSR
    assert len([line for line in said if line.startswith("building etcd")]) == 1


def test_a_failed_build_says_what_the_compiler_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = replace(ETCD, binaries=(Binary("etcd", "go.etcd.io/etcd/server/v3/no-such-package", "1 min"),))
    with pytest.raises(LocalControlPlaneError, match="no-such-package"):
        ensure_built((broken,), environ(tmp_path), lambda _: None)
    assert [path for path in (tmp_path / "seawall" / "kube").iterdir() if path.is_dir()] == []


def test_without_a_new_enough_go_on_path_the_locked_wheel_serves(tmp_path: Path) -> None:
    """Its own cache is kept: the wheel is 250 MB."""
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.20.1\n")
    old.chmod(0o755)
    go = find_go({**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}, lambda _: None)
    answer = subprocess.run([go, "version"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("go version go1.27")


def test_a_build_alone_says_where_everything_is_and_starts_nothing() -> None:
    build = [sys.executable, "-m", "controlplane.adapters.kubernetes.local", "--build"]
    answer = subprocess.run(build, capture_output=True, text=True, check=True)
    kube, prometheus = map(Path, answer.stdout.split())
    assert (kube / "kube-apiserver").is_file()
    assert (prometheus / "prometheus").is_file()
