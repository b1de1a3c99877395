"""The reference workload as three releases; the bad one no longer ships a module that some tenants load."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import controlplane
from controlplane.cli.failures import CommandError
from controlplane.formats.pack import pack_chart

from .scene import BAD, LEGACY

_TEMPLATE = "templates/_helpers.tpl"
_BEFORE = "{{- with .root.Values.podAnnotations }}\nannotations:"
_AFTER = (
    "{{- $notes := deepCopy .root.Values.podAnnotations }}\n"
    '{{- if and (eq .part "web") (has "LEGACY" .root.Values.web.args) }}\n'
    '{{- $_ := set $notes "seawall.test/fault" "never-ready" }}\n'
    "{{- end }}\n"
    "{{- with $notes }}\nannotations:"
).replace("LEGACY", LEGACY)
"""The bad release: pods that load the module never become ready.

There is no Odoo inside these pods; the mark tells the simulated fleet, and kwok on the local control plane, to play the crash.
"""


def chart_folder() -> Path:
    """The reference workload's chart: in a checkout under helm/, in an installed package beside the code."""
    root = Path(controlplane.__file__).parent
    for found in (root.parent / "helm" / "odoo-tenant", root / "charts" / "odoo-tenant"):
        if (found / "Chart.yaml").is_file():
            return found
    raise CommandError("The demo's chart helm/odoo-tenant is not there.", hint="Run it from a checkout of the project.")


def packed(version: str) -> bytes:
    """The archive of a release's chart."""
    chart = chart_folder()
    if version != BAD:
        return pack_chart(chart, version=version)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(chart, Path(folder) / chart.name))
        template = copy / _TEMPLATE
        text = template.read_text()
        if text.count(_BEFORE) != 1:
            raise CommandError(f"{_TEMPLATE} of the chart is not as the demo knows it, so the release can't be broken.")
        template.write_text(text.replace(_BEFORE, _AFTER))
        return pack_chart(copy, version=version)
