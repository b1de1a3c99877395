"""How a cluster is reached: what the environment says is read once, not for every call."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from controlplane.adapters.kubernetes.config import load_client
from controlplane.domain.errors import DependencyError


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(body))
    return path


@pytest.mark.parametrize(
    ("no_proxy", "proxy"),
    [("", "http://proxy.example:3128"), ("api.example", None), ("other.example", "http://proxy.example:3128")],
)
async def test_a_proxy_of_the_environment_is_found_once_and_no_call_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str, proxy: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    client = await load_client(kubeconfig(tmp_path, "https://api.example:6443"), None)
    assert client.configuration.proxy == proxy
    await client.close()


async def test_a_kubeconfig_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DependencyError) as refused:
        await load_client(tmp_path / "none", None)
    assert refused.value.code == "cluster-misconfigured"
