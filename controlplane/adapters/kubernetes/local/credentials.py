"""Keys, certificates and kubeconfigs of one run, as files."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from controlplane.adapters.kubernetes.local.certs import Authority, Pair, private_pem, public_pem, signing_key
from controlplane.adapters.kubernetes.local.flags import SERVING_NAMES, Layout


class Credentials:
    """Writes what the processes read, and issues an identity to whoever asks."""

    def __init__(self, layout: Layout, now: dt.datetime) -> None:
        self._layout = layout
        self._authority = Authority(now)
        (layout.root / "pki").mkdir(mode=0o700, exist_ok=True)
        server, signer = self._authority.server(SERVING_NAMES), signing_key()
        self._write("ca.crt", self._authority.cert)
        self._write("server.crt", server.cert)
        self._write("server.key", server.key)
        self._write("service-account.key", private_pem(signer))
        self._write("service-account.pub", public_pem(signer))

    def kubeconfig(self, name: str, server: str, user: str, groups: Sequence[str] = ()) -> Path:
        """Write `<name>.kubeconfig` with a fresh client certificate of `user` in `groups`."""
        path = self._layout.kubeconfig(name)
        content = _kubeconfig(server, self._authority.cert, self._authority.client(user, groups))
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
        return path

    def ssl_context(self, user: str, groups: Sequence[str] = ()) -> ssl.SSLContext:
        """TLS as `user` in `groups`, for a client of this process."""
        pair = self._authority.client(user, groups)
        cert = self._write(f"{user.replace(':', '-')}.crt", pair.cert + pair.key)
        context = ssl.create_default_context(cadata=self._authority.cert.decode())
        context.load_cert_chain(cert)
        return context

    def _write(self, name: str, content: bytes) -> Path:
        path = Path(self._layout.pki(name))
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path


def _kubeconfig(server: str, ca: bytes, pair: Pair) -> dict[str, Any]:
    cluster = {"server": server, "certificate-authority-data": _base64(ca)}
    user = {"client-certificate-data": _base64(pair.cert), "client-key-data": _base64(pair.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "local", "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
        "current-context": "local",
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
