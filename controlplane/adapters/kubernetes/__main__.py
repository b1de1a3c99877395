"""`python -m controlplane.adapters.kubernetes`: prepare a cluster for Seawall, as its administrator, once per version of Seawall."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from controlplane.adapters.kubernetes.cluster import KubernetesCluster
from controlplane.domain.errors import SeawallError


def main() -> int:
    """Install and prove the fence; 0 if both policies refuse their probe, else 1."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.adapters.kubernetes", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of an administrator")
    parser.add_argument("--context", help="of the kubeconfig; default: its current one")
    parser.add_argument("--prove", action="store_true", help="only prove what is installed")
    args = parser.parse_args()
    try:
        version = asyncio.run(_prepare(args.kubeconfig.expanduser(), args.context, prove_only=args.prove))
    except SeawallError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)  # noqa: T201 # the answer of a command
        return 1
    print(f"The fence of {args.context or 'the current context'} ({version}) is installed and refuses probes.")  # noqa: T201 # the answer
    return 0


async def _prepare(kubeconfig: Path, context: str | None, *, prove_only: bool) -> str:
    cluster = await KubernetesCluster.connect(context or "cluster", kubeconfig, context)
    try:
        version = await cluster.version()
        if not prove_only:
            await cluster.install()
        await cluster.prove_fence()
        return version
    finally:
        await cluster.close()


if __name__ == "__main__":
    sys.exit(main())
