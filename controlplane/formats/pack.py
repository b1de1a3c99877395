"""Pack a chart folder into the archive that is uploaded as an artifact; the same files always give the same digest."""

from __future__ import annotations

from pathlib import Path

import yaml

from controlplane.domain.errors import InvalidError
from controlplane.formats.archive import write_tar


def pack_chart(folder: Path, *, version: str | None = None) -> bytes:
    """The `.tgz` of a chart folder, like `helm package` but deterministic; `version` replaces the chart's version.

    Raises `InvalidError` (`chart-does-not-render`) where there is no Chart.yaml.
    """
    chart_file = folder / "Chart.yaml"
    if not chart_file.is_file():
        raise InvalidError(f"{folder.name} is not a chart: it has no Chart.yaml.", code="chart-does-not-render")
    metadata = yaml.safe_load(chart_file.read_text())
    files = {
        f"{metadata['name']}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    if version is not None:
        files[f"{metadata['name']}/Chart.yaml"] = yaml.safe_dump({**metadata, "version": version}).encode()
    return write_tar(files)
