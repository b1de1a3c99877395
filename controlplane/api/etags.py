"""`ETag` on reads, `If-Match` on PUT and PATCH of what exists. Never on actions: an abort must not fail with 412."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import Header, Response
from pydantic import BaseModel

from controlplane.domain.errors import ConflictError, PreconditionError

from .routing import content_tag

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag of what you read; required if it exists (428), refused if it changed (412).",
    ),
]
"""A parameter of each PUT and PATCH handler; give it to `check_if_match`."""


class PreconditionRequiredError(ConflictError):
    """`If-Match` is missing on a PUT or PATCH of what exists."""

    status = 428
    code = "precondition-required"
    title = "Say which version you saw"


def body_of(model: BaseModel) -> bytes:
    """The JSON bytes of a representation; the same content gives the same bytes."""
    return orjson.dumps(model.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)


def etag_of(model: BaseModel) -> str:
    """The ETag that `respond` gives this representation."""
    return content_tag(body_of(model))


def respond(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None, *, etag: str = "") -> Response:
    """Answer with a representation and its ETag. Give `etag` if the representation holds a part that changes by itself (a clock)."""
    body = body_of(model)
    return Response(body, status, {"ETag": etag or content_tag(body), **(headers or {})}, media_type="application/json")


def check_if_match(if_match: str | None, current: str | None) -> None:
    """Compare `If-Match` with the current ETag (None: it does not exist yet).

    Raises PreconditionRequiredError if it exists and the header is missing, PreconditionError if they differ.
    """
    if current is None:
        if if_match is not None:
            raise PreconditionError(
                "It does not exist, so no version of it can match. Leave If-Match out to create it."
            )
        return
    if if_match is None:
        raise PreconditionRequiredError("It exists already. Read it, then send its ETag as If-Match.")
    if current not in [part.strip() for part in if_match.split(",")] and if_match.strip() != "*":
        raise PreconditionError("It changed since you read it. Read it again, decide again, then send the new ETag.")
