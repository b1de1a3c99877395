"""The reference lists every code that registering or rendering a release can answer with, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(ROOT / "controlplane" / "formats").glob("*.py"),
    *(ROOT / "controlplane" / "domain" / name for name in ("releases.py", "values.py", "walls.py")),
]


def test_every_code_is_in_the_reference_and_none_besides() -> None:
    source = "".join(path.read_text() for path in SOURCES)
    used = set(re.findall(r'code="([a-z-]+)"', source))
    used |= set(re.findall(r'WallFinding\(\s*"([a-z-]+)"', source))
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/reference/release-formats.md").read_text(), re.MULTILINE)
    assert sorted(used) == sorted(listed)
