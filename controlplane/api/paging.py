"""Lists: `{items, next}` with `limit` and an opaque cursor; `next` is absolute and left out on the last page."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import Query, Request
from pydantic import Field

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.wire import Wire

from .links import absolute

MAX_LIMIT = 500

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items a page has at most.")]
Cursor = Annotated[str | None, Query(max_length=1000, description="Opaque; take it from `next`.")]
"""Parameters of each list handler: `limit: Limit = 50, cursor: Cursor = None`."""


class Page[T](Wire):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(
        default=None, exclude_if=lambda v: v is None, description="Address of the next page; absent on the last."
    )


def page[R, T](
    request: Request, rows: Sequence[R], limit: int, *, show: Callable[[R], T], position: Callable[[R], Sequence[Any]]
) -> Page[T]:
    """Make a page of the rows read with `limit + 1`; `position` gives a row's place in the order, for the next cursor."""
    more = len(rows) > limit
    kept = rows[:limit]
    following = None
    if more:
        url = request.url.include_query_params(cursor=encode(position(kept[-1])), limit=limit)
        following = absolute(request, f"{url.path}?{url.query}")
    return Page(items=[show(row) for row in kept], next=following)


def encode(position: Sequence[Any]) -> str:
    """Write a position as a cursor."""
    return base64.urlsafe_b64encode(orjson.dumps(list(position), default=str)).decode().rstrip("=")


def decode(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """Read a cursor as values of `kinds` (str, int, uuid.UUID, datetime). Raises InvalidError `invalid-cursor`."""
    if cursor is None:
        return None
    try:
        raw = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(raw, list) or len(raw) != len(kinds):
            raise ValueError("another number of parts")  # noqa: TRY301 -- one answer for everything unreadable
        return tuple(_read(value, kind) for value, kind in zip(raw, kinds, strict=True))
    except (ValueError, binascii.Error, UnicodeError) as error:
        detail = "The cursor can't be read. Take it unchanged from `next` of the page before, or start without one."
        raise InvalidError(
            detail, code="invalid-cursor", errors=[FieldError("query/cursor", "not one of ours")]
        ) from error


def _read(value: Any, kind: type) -> Any:
    match value:
        case str() if kind is str and "\0" not in value:
            return value
        case int() if kind is int and not isinstance(value, bool) and abs(value) < 1 << 63:
            return value
        case str() if kind is uuid.UUID:
            return uuid.UUID(value)
        case str() if kind is datetime and (moment := datetime.fromisoformat(value)).tzinfo:
            return moment
    raise ValueError("another type")
