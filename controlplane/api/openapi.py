"""The API's description, made from the code and completed with what every operation shares."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .problems import MEDIA_TYPE

_METHODS = ("get", "put", "post", "patch", "delete", "options")
_ETAG = {"ETag": {"description": "Hash of the content; give it back as If-Match.", "schema": {"type": "string"}}}
_LONG = {
    "Operation-Location": {"description": "The status monitor.", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {"description": "Seconds until asking makes sense.", "schema": {"type": "integer"}},
}


def install(app: FastAPI) -> None:
    """Let the app describe itself through `describe`."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(describe(app))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the description


def describe(app: FastAPI) -> dict[str, Any]:
    """Make the description: problems as application/problem+json, ETags and Operation-Location where they are sent."""
    schema = get_openapi(title=app.title, version="1", description=app.description, routes=app.routes)
    schema["servers"] = [{"url": "/"}]
    for path in schema["paths"].values():
        for method in _METHODS:
            if method in path:
                _complete(method, path[method])
    _mend_defaults(schema["components"])
    return schema


def _mend_defaults(node: Any) -> None:
    """Write defaults of decimals as the numbers they travel as; pydantic writes them as text."""
    if isinstance(node, dict):
        if node.get("type") == "number" and isinstance(node.get("default"), str):
            node["default"] = float(node["default"])
        for child in node.values():
            _mend_defaults(child)
    elif isinstance(node, list):
        for child in node:
            _mend_defaults(child)


def _complete(method: str, operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if status in ("4XX", "5XX") and "application/json" in content:
            content[MEDIA_TYPE] = content.pop("application/json")
        if (method in ("get", "put", "patch") and status in ("200", "201")) and "security" in operation:
            response.setdefault("headers", {}).update(_ETAG)
        if status == "202":
            response.setdefault("headers", {}).update(_LONG)
    for parameter in operation.get("parameters", []):
        # A default of null would say that null may be sent, which a query or header can't.
        schema = parameter["schema"]
        others = [s for s in schema.get("anyOf", []) if s != {"type": "null"}]
        if len(others) == 1 and len(schema["anyOf"]) == 2:
            del schema["anyOf"]
            parameter["schema"] = {**others[0], **schema}


def as_bytes(schema: dict[str, Any]) -> bytes:
    """The description as stable bytes: sorted keys, two spaces, a newline at the end."""
    return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
