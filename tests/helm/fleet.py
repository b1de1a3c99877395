"""Writes `helm/seawall/files/fleet.yaml` from the code that installs the same on a cluster: `python -m tests.helm.fleet`."""

from __future__ import annotations

from pathlib import Path

import yaml

from controlplane.adapters.kubernetes.identities import SYSTEM_NAMESPACE, WORKER_NAME
from controlplane.adapters.kubernetes.install import administrator_objects

FILE = Path(__file__).parents[2] / "helm" / "seawall" / "files" / "fleet.yaml"
HEADER = """# Written from controlplane/adapters/kubernetes/install.py (python -m tests.helm.fleet); a test fails when it differs.
"""
_CHARTS_OWN = {("Namespace", SYSTEM_NAMESPACE), ("ServiceAccount", WORKER_NAME)}


def fleet_yaml() -> str:
    """All that an administrator installs, besides the namespace of the chart and the account it makes itself."""
    objects = [o for o in administrator_objects() if (o["kind"], o["metadata"]["name"]) not in _CHARTS_OWN]
    return HEADER + yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, width=150)


class _Plain(yaml.SafeDumper):
    """Writes what is shared out each time: aliases are not for readers."""

    def ignore_aliases(self, data: object) -> bool:
        return True


if __name__ == "__main__":
    FILE.write_text(fleet_yaml())
