"""JSON text for jsonb parameters."""

from __future__ import annotations

from typing import Any

import orjson


def as_json(value: Any) -> str:
    """JSON text for a jsonb parameter; times become RFC 3339, ids text."""
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
