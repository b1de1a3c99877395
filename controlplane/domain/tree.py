"""Trees of JSON values that callers may shape freely, within bounds that keep them storable and cheap to walk."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

MAX_DEPTH = 32
MAX_NODES = 20_000

PlainText = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
"""Text for people: no control characters (PostgreSQL can't store NUL, terminals obey others)."""


def check_tree(value: Any) -> Any:
    """Return a JSON value unchanged. Raises ValueError if it is too deep, too large, or holds a NUL character."""
    nodes = 0
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"values are nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise ValueError(f"values hold more than {MAX_NODES} entries")
        waiting += [(child, depth + 1) for child in _children(node)]
    return value


def _children(node: Any) -> list[Any]:
    if isinstance(node, str):
        if "\x00" in node:
            raise ValueError("a string holds the character NUL, which can't be stored")
        return []
    if isinstance(node, dict):
        return [*node.keys(), *node.values()]
    return list(node) if isinstance(node, list) else []


ValuesTree = Annotated[dict[str, Any], AfterValidator(check_tree)]
"""Values of an app as a chart takes them: open by nature, hence `Any`."""
