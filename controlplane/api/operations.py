"""Long work: 202 + `Operation-Location` + `Retry-After`."""

from __future__ import annotations

import uuid

from fastapi import Request
from pydantic import BaseModel

from controlplane.domain.wire import Wire

from .idempotency import Answer
from .links import absolute


class Accepted(Wire):
    """An accepted intent; `operation` says how it goes."""

    operation: str
    id: uuid.UUID


def accepted(
    request: Request, operation_id: uuid.UUID, body: BaseModel | None = None, *, path: str = "", retry_after: int = 1
) -> Answer:
    """Answer 202 for an operation (or, with `path`, for another status monitor such as `/v1/rollouts/<id>`)."""
    location = absolute(request, path or f"/v1/operations/{operation_id}")
    headers = {"Operation-Location": location, "Retry-After": str(retry_after)}
    return Answer(202, body or Accepted(operation=location, id=operation_id), headers)
