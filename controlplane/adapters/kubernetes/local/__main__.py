"""`python -m controlplane.adapters.kubernetes.local`: start one, print its kubeconfig, end it on Ctrl-C. `--build`: only have all built."""

from __future__ import annotations

import argparse
import signal
import sys

from controlplane.adapters.kubernetes.local import LocalControlPlane, ensure_binaries, ensure_prometheus


def main() -> None:
    """Run until SIGINT or SIGTERM, or build what is missing in the cache: the control plane, and the Prometheus that tests ask."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.adapters.kubernetes.local", description=__doc__)
    parser.add_argument("--build", action="store_true", help="build what is missing, print where it is, start nothing")
    if parser.parse_args().build:
        sys.stdout.write(f"{ensure_binaries()}\n{ensure_prometheus()}\n")
        return
    # Blocked before any thread exists, so that the signal waits for sigwait instead of ending some thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with LocalControlPlane() as cluster:
        sys.stdout.write(f"{cluster.kubeconfig}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
