"""What tests ask of an error answer."""

from __future__ import annotations

from typing import Any

import httpx


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that the answer is a problem with this status and code; gives its body."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert {"type", "title", "detail", "code", "instance", "errors", "traceId"} <= set(body)
    assert "Traceback" not in answer.text
    return body


def pointers(body: dict[str, Any]) -> list[str]:
    """Where the answer says that something is wrong."""
    return [error["pointer"] for error in body["errors"]]
