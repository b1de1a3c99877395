"""The reference of events, from the catalogue and the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.domain.event_catalogue import CATALOGUE
from controlplane.domain.sources import Source
from controlplane.domain.triggers import Trigger
from controlplane.domain.webhooks import Webhook
from controlplane.domain.wire import Wire


def event_types() -> str:
    """Give the table of every event that is sent."""
    rows = ["| type | says | data |", "|---|---|---|"]
    rows += [f"| `{e.type}` | {e.says} | {', '.join(f'`{name}`' for name in e.data)} |" for e in CATALOGUE]
    return "\n".join(rows)


def trigger_fields() -> str:
    """Give the table of a trigger's fields."""
    return _table(Trigger)


def source_fields() -> str:
    """Give the table of a source's fields."""
    return _table(Source)


def webhook_fields() -> str:
    """Give the table of a webhook's fields."""
    return _table(Webhook)


def _table(model: type[Wire]) -> str:
    schema = model.model_json_schema()
    rows = ["| field | default | meaning |", "|---|---|---|"]
    return "\n".join([*rows, *_rows(schema, schema.get("$defs", {}), "")])


def _rows(schema: dict[str, Any], defs: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, found in schema["properties"].items():
        inner = found.get("items", found)
        if "$ref" in inner and "properties" in defs[inner["$ref"].rpartition("/")[2]]:
            yield from _rows(
                defs[inner["$ref"].rpartition("/")[2]], defs, f"{prefix}{name}{'[]' if 'items' in found else ''}."
            )
            continue
        required = name in schema.get("required", ())
        default = "required" if required else _default(found.get("default"))
        yield f"| `{prefix}{name}` | {default} | {_meaning(found)} |"


def _default(value: object) -> str:
    return "" if value is None or value == "" else f"`{value}`"


def _meaning(found: dict[str, Any]) -> str:
    choices = found.get("enum")
    listed = f"One of {', '.join(f'`{c}`' for c in choices)}. " if choices else ""
    return f"{listed}{found.get('description', '')}".strip()
