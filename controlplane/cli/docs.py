"""Parts of the documentation that come from the code: `python -m controlplane.cli.docs` writes them anew.

A document marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`. One function here gives the text of each
name, so a document can't say what the code does not do; a test fails when they drift apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from controlplane.cli.docs_errors import error_codes
from controlplane.cli.docs_events import event_types, source_fields, trigger_fields, webhook_fields
from controlplane.cli.docs_gates import metric_gates
from controlplane.cli.docs_metrics import metrics_table
from controlplane.cli.docs_settings import permissions, settings
from controlplane.cli.docs_states import (
    item_states,
    operation_states,
    rollout_states,
    target_states,
    tenant_phases,
    wave_states,
)
from controlplane.cli.docs_walls import deployer_rights, tier_fields, wall_objects_table
from controlplane.cli.docs_waves import worked_example, worked_strategy
from controlplane.cli.reference import reference
from controlplane.domain.strategies import Strategy

_PART = re.compile(r"(<!-- generated: (?P<name>[a-z0-9-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def strategy_fields() -> str:
    """Give the table of a strategy's fields from its JSON schema."""
    schema = Strategy.model_json_schema()
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    rows += [" | ".join(("", *row, "")).strip() for row in _rows(schema, schema["$defs"], "")]
    return "\n".join(rows)


def _rows(schema: dict[str, Any], defs: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, found in schema["properties"].items():
        inner, many = _resolved(found, defs)
        path = f"{prefix}{name}{'[]' if many else ''}"
        required = name in schema.get("required", ())
        yield f"`{path}`", _type(found, defs), _default(found, required=required), found.get("description", "")
        if "properties" in inner:
            yield from _rows(inner, defs, path + ".")


def _resolved(schema: dict[str, Any], defs: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Follow a reference, an optional and a list down to the object they are about."""
    many = schema.get("type") == "array"
    inner: dict[str, Any] = schema["items"] if many else _present(schema)
    return defs[inner["$ref"].rpartition("/")[2]] if "$ref" in inner else inner, many


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    options: list[dict[str, Any]] = [o for o in schema.get("anyOf", ()) if o.get("type") != "null"]
    return options[0] if len(options) == 1 else schema


def _type(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    found = _present(schema)
    if "enum" in found:
        return " or ".join(f"`{value}`" for value in found["enum"])
    if "const" in found:
        return f"`{found['const']}`"
    inner, many = _resolved(found, defs)
    if many:
        return "list of gates" if inner.get("type") == "object" and "properties" not in inner else "list"
    if "anyOf" in found:
        return "limit"
    if found.get("format") == "duration":
        return "duration"
    return str(inner.get("type", "object"))


def _default(schema: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    value = schema.get("default")
    return "" if value is None or value == [] else f"`{value}`"


GENERATED: dict[str, Callable[[], str]] = {
    "cli": reference,
    "error-codes": error_codes,
    "event-types": event_types,
    "deployer-rights": deployer_rights,
    "item-states": item_states,
    "metric-gates": metric_gates,
    "metrics": metrics_table,
    "operation-states": operation_states,
    "rollout-states": rollout_states,
    "source-fields": source_fields,
    "permissions": permissions,
    "settings": settings,
    "strategy-fields": strategy_fields,
    "target-states": target_states,
    "trigger-fields": trigger_fields,
    "webhook-fields": webhook_fields,
    "tenant-phases": tenant_phases,
    "tier-fields": tier_fields,
    "wall-objects": wall_objects_table,
    "wave-states": wave_states,
    "waves-strategy": worked_strategy,
    "waves-example": worked_example,
}


def renew(text: str) -> str:
    """Give a document with its generated parts as the code makes them now. An unknown name is a KeyError."""
    return _PART.sub(lambda m: f"{m[1]}{GENERATED[m['name']]()}\n{m[4]}", text)


def main(root: Path = Path("docs")) -> int:
    """Renew every document below `root`; says which ones changed."""
    for path in sorted(root.rglob("*.md")):
        old = path.read_text()
        new = renew(old)
        if new != old:
            path.write_text(new)
            sys.stderr.write(f"renewed {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
