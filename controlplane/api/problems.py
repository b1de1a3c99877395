"""Errors as `application/problem+json` (RFC 9457): `type title detail code instance errors[{pointer, detail}] traceId`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, Field, ValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from controlplane.domain.errors import (
    CallerError,
    DependencyError,
    FieldError,
    InvalidError,
    NotFoundError,
    SeawallError,
    UnauthenticatedError,
)
from controlplane.domain.wire import Wire, field_errors, pointer, said
from controlplane.ports.trace import current_trace_id

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "https://seawall.dev/problems/"
_BODY_LIKE = ("body",)

log = structlog.get_logger("seawall.api")


class FieldProblem(Wire):
    """One thing wrong in what was sent. `pointer` is a JSON pointer into the body, or `query/NAME`, `header/NAME`, `path/NAME`."""

    pointer: str
    detail: str


class Problem(Wire):
    """Why a request was not carried out."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A stable address of this kind of problem.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What happened, to what, and what to do next.")
    code: str = Field(description="Stable and kebab-case: for programs.")
    instance: str = Field(description="The path that was called.")
    errors: list[FieldProblem] = Field(default_factory=list)
    trace_id: str = Field(default="", description="Find it in logs and traces by this.")


class MissingKeyError(CallerError):
    """A POST that creates or acts came without an Idempotency-Key."""

    code = "idempotency-key-required"
    title = "An Idempotency-Key is required"


class MethodNotAllowedError(CallerError):
    """The address exists but does not take this method; `Allow` says which it takes."""

    status = 405
    code = "method-not-allowed"
    title = "Not with this method"


class TooLargeError(CallerError):
    """The body is larger than this path takes."""

    status = 413
    code = "body-too-large"
    title = "The body is too large"


class UnsupportedMediaError(CallerError):
    """The body is of a media type that this path does not read."""

    status = 415
    code = "unsupported-media-type"
    title = "Not this media type"


def problem_response(request: Request, error: SeawallError) -> Response:
    """Write one of our errors as a problem."""
    body: dict[str, Any] = {
        "type": TYPE_BASE + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "instance": request.url.path,
        "errors": [{"pointer": e.pointer, "detail": e.detail} for e in error.errors],
        "traceId": current_trace_id(),
    }
    request.scope.setdefault("state", {})["problem"] = error.code
    content = orjson.dumps({**error.extra, **body}, default=str)
    return Response(content, error.status, headers=_headers(error), media_type=MEDIA_TYPE)


def _headers(error: SeawallError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = f'Bearer realm="seawall", error="{error.code}"'
    wait = error.retry_after or (2 if isinstance(error, DependencyError) else None)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    return headers


def from_validation(errors: Sequence[Mapping[str, Any]]) -> SeawallError:
    """Turn FastAPI's complaints into one error of ours, without the values (they may be secrets)."""
    if any(tuple(e["loc"]) == ("header", "Idempotency-Key") and e["type"] == "missing" for e in errors):
        detail = "Send the header Idempotency-Key with a value of your own, such as a UUID; repeat the request with the same one."
        return MissingKeyError(detail)
    told = [e for e in errors if not _echoes(e, errors)]
    found = [FieldError(_place(tuple(e["loc"])), said(e)) for e in told]
    if any(e["type"] == "json_invalid" for e in errors):
        detail = f"The body is not JSON that can be read: {errors[0].get('ctx', {}).get('error', '')}."
        return InvalidError(detail, code="invalid-json", errors=[FieldError("", "not valid JSON")])
    more = f" ({len(found) - 1} more below)" if len(found) > 1 else ""
    return InvalidError(f"{found[0].pointer or 'The body'}: {found[0].detail}{more}", errors=found)


def _echoes(error: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list is called too short only because one of its items is wrong, which is told anyway."""
    loc = tuple(error["loc"])
    deeper = (tuple(e["loc"]) for e in errors)
    return error["type"] == "too_short" and any(other[: len(loc)] == loc != other for other in deeper)


def _place(loc: tuple[str | int, ...]) -> str:
    if loc[:1] == _BODY_LIKE:
        return pointer(loc[1:])
    return "/".join(str(part) for part in loc)


def from_http(error: HTTPException) -> SeawallError:
    """Turn Starlette's own refusals (no such path, wrong method) into ours."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFoundError("There is nothing at this address; /v1/openapi.json lists what there is.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        return MethodNotAllowedError(f"This address does not take that method; it takes: {allowed}.")
    refused = CallerError(str(error.detail))
    refused.status = error.status_code
    return refused


def internal(request: Request, error: Exception) -> Response:
    """Answer for a bug of ours: logged with its traceback, told without it."""
    log.error("unexpected error", path=request.url.path, method=request.method, exc_info=error)
    detail = "This is a bug in Seawall, not in your request. Its trace id is in the log; nothing of the request was committed."
    return problem_response(request, SeawallError(detail))


def install(app: FastAPI) -> None:
    """Register the handlers."""

    async def ours(request: Request, error: Exception) -> Response:
        return problem_response(request, cast("SeawallError", error))

    async def validation(request: Request, error: Exception) -> Response:
        return problem_response(request, from_validation(cast("RequestValidationError", error).errors()))

    async def model(request: Request, error: Exception) -> Response:
        return internal(request, error)

    async def http(request: Request, error: Exception) -> Response:
        raised = cast("HTTPException", error)
        response = problem_response(request, from_http(raised))
        response.headers.update(raised.headers or {})
        return response

    app.add_exception_handler(SeawallError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(ValidationError, model)
    app.add_exception_handler(DBAPIError, model)
    app.add_exception_handler(HTTPException, http)


def invalid_body(error: ValidationError, prefix: Sequence[str | int] = ()) -> InvalidError:
    """Tell the caller what pydantic found in a part of the body that a service or router reads itself."""
    found = field_errors(error, prefix)
    return InvalidError(f"{found[0].pointer or 'The body'}: {found[0].detail}", errors=found)


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request can't be carried out; `code` says why.", "model": Problem},
    "5XX": {"description": "Seawall, or a part it stands on, failed; repeat later.", "model": Problem},
}
"""What every operation may answer besides its success."""
