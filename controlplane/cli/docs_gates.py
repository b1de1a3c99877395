"""The reference of named queries, from the catalogue."""

from __future__ import annotations

from controlplane.domain.quantities import format_duration
from controlplane.gates.catalogue import CATALOGUE, FAMILIES, Named


def metric_gates() -> str:
    """Give a section per family: a table, then each query."""
    return "\n\n".join(_family(family, title) for family, title in FAMILIES.items())


def _family(family: str, title: str) -> str:
    entries = [entry for entry in CATALOGUE.values() if entry.family == family]
    rows = ["| name | what it says | bad | window | needs |", "|---|---|---|---|---|"]
    rows += [
        f"| `{e.name}` | {e.says} | {_threshold(e)} | `{format_duration(e.window)}` | {e.needs}{_filling(e)} |"
        for e in entries
    ]
    queries = "\n\n".join(_query(entry) for entry in entries)
    return f"## {title}\n\n" + "\n".join(rows) + f"\n\n{queries}"


def _threshold(entry: Named) -> str:
    sign, value = (">", entry.max) if entry.max is not None else ("<", entry.min)
    return f"{sign} {value:g} {entry.unit}"


def _filling(entry: Named) -> str:
    fills = ", ".join(f"`{name}`: `{value}`" for name, value in entry.filling.items())
    return f" `with` {fills}." if fills else ""


def _query(entry: Named) -> str:
    events = (
        f"\n    # events behind a value, at least {entry.min_volume:g}:\n    {entry.volume}" if entry.volume else ""
    )
    return f"`{entry.name}`\n\n    {entry.query}{events}"
