"""Where an API server is and how to prove who we are: a kubeconfig, or the ServiceAccount of the pod we run in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from controlplane.domain.errors import DependencyError


async def load_client(kubeconfig: Path | None, context: str | None) -> ApiClient:
    """A client from a kubeconfig file (None: the pod's ServiceAccount). Raises `DependencyError` (`cluster-misconfigured`).

    Token files, exec plugins (kubelogin for AKS) and client certificates are the library's work.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None:
            kube_config.load_incluster_config(client_configuration=configuration)
        else:
            await kube_config.load_kube_config(
                config_file=str(kubeconfig), context=context, client_configuration=configuration
            )
    except (kube_config.ConfigException, OSError) as error:
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's ServiceAccount"
        detail = f"Can't read how to reach the cluster from {where}: {error}. Correct the cluster's settings."
        raise DependencyError(detail, code="cluster-misconfigured") from error
    _read_environment_once(configuration)
    return ApiClient(configuration)


def _read_environment_once(configuration: Configuration) -> None:
    """Find the proxy now, not at each request: an API server takes no password from ~/.netrc, which would be read with it."""
    address = urlsplit(str(configuration.host))
    if configuration.proxy is None and address.hostname and not proxy_bypass(address.hostname):
        configuration.proxy = getproxies().get(address.scheme)
