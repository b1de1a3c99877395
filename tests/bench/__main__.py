"""`make bench`: run every `bench_*.py` (or those named), print a table, write `build/bench.json`."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.rows import Row

OUT = Path("build/bench.json")


def collect(names: list[str]) -> list[Row]:
    """Call `measure()` of each module, coroutine or not."""
    rows: list[Row] = []
    for name in names:
        found = importlib.import_module(f"tests.bench.{name}").measure()
        rows += asyncio.run(found) if inspect.iscoroutine(found) else found
    return rows


def table(rows: list[Row]) -> Table:
    """Lay the rows out for a person."""
    made = Table("figure", "value", "runs", "target", "ok", "conditions")
    for r in rows:
        ok = "-" if r.ok is None else ("yes" if r.ok else "NO")
        made.add_row(r.name, f"{r.value:g} {r.unit}", r.spread, r.target or "-", ok, r.conditions)
    return made


def main() -> int:
    """Measure; exit 1 when a target is missed."""
    here = Path(__file__).parent
    names = sys.argv[1:] or sorted(p.stem for p in here.glob("bench_*.py"))
    rows = collect(names)
    Console(width=None if sys.stdout.isatty() else 180).print(table(rows))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    body = {"at": datetime.now(UTC).isoformat(), "machine": machine, "rows": [r.as_json() for r in rows]}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(body, indent=2) + "\n")
    return 0 if all(r.ok is not False for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
