"""An error as it is stored with an operation or item: the members of problem+json that outlive a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlplane.domain.errors import FieldError, SeawallError


def problem_of(error: SeawallError) -> dict[str, Any]:
    """Code, title, detail, and what is wrong where."""
    found: dict[str, Any] = {"code": error.code, "title": type(error).title, "detail": error.detail}
    if error.errors:
        found["errors"] = errors_of(error.errors)
    return found


def errors_of(errors: Sequence[FieldError]) -> list[dict[str, str]]:
    """Field errors as JSON."""
    return [{"pointer": one.pointer, "detail": one.detail} for one in errors]
