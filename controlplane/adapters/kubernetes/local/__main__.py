"""`python -m controlplane.adapters.kubernetes.local`: start one, print its kubeconfig, end it on Ctrl-C."""

from __future__ import annotations

import signal
import sys

from controlplane.adapters.kubernetes.local import LocalControlPlane


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    # Blocked before any thread exists, so that the signal waits for sigwait instead of ending some thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with LocalControlPlane() as cluster:
        sys.stdout.write(f"{cluster.kubeconfig}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
