"""How every route reads a request: who calls first, then a bounded, strict body. Routers are made with `feature_router`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, cast

import orjson
from fastapi import APIRouter, Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.types import Message, Receive

from controlplane.domain.errors import CallerError, FieldError, InvalidError, UnauthenticatedError
from controlplane.domain.identity import Principal

from .problems import PROBLEMS, TooLargeError, UnsupportedMediaError

JSON_LIMIT = 10_000_000
"""Bytes of a body; artifacts have a larger limit of their own."""

type Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request whose JSON is read strictly: no NaN, no infinity, no lone surrogates."""

    async def json(self) -> Any:
        """Read the body as JSON. Raises json.JSONDecodeError."""
        return orjson.loads(await self.body())


async def _check_body(request: StrictRequest) -> None:
    """Read the body, and refuse NUL characters in JSON, which PostgreSQL can't store."""
    body = await request.body()
    if b"\\u0000" in body and "json" in request.headers.get("content-type", ""):
        with contextlib.suppress(orjson.JSONDecodeError):  # FastAPI says it better
            _refuse_nul(orjson.loads(body), "")


def _refuse_nul(value: Any, at: str) -> None:
    if isinstance(value, str) and "\0" in value:
        errors = [FieldError(at, "holds a NUL character")]
        raise InvalidError("A string in the body holds a NUL character, which can't be stored.", errors=errors)
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nul(key, at)
            _refuse_nul(inner, f"{at}/{key}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nul(inner, f"{at}/{index}")


class StrictRoute(APIRoute):
    """A route that knows its caller before it reads the body. Class attributes of a subclass change the rules."""

    authenticated = True
    body_limit = JSON_LIMIT

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler."""
        inner = super().get_route_handler()
        _read_by_alias(self)
        known = _query_names(self)
        json_type = _json_type(self)

        async def handle(request: Request) -> Response:
            _refuse_unknown_parameters(known, request)
            if self.authenticated:
                request.state.principal = await _principal(request)
            if json_type:
                _refuse_other_types(request, json_type)
            receive = await _bounded(request, self.body_limit)
            strict = StrictRequest(request.scope, receive)
            await _check_body(strict)
            response = await inner(strict)
            return _tagged(request, response)

        return handle


class OpenRoute(StrictRoute):
    """A route without a bearer credential: machine endpoints, and hooks that carry a signature instead."""

    authenticated = False


def feature_router(tag: str, *, route_class: type[StrictRoute] = StrictRoute) -> APIRouter:
    """Make the router of one feature; its paths start with /v1/."""
    return APIRouter(tags=[tag], route_class=route_class, responses=PROBLEMS)


async def _principal(request: Request) -> Principal:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        detail = "Send `Authorization: Bearer` with an API key (sw_...) or a token of the configured issuer."
        raise UnauthenticatedError(detail)
    principal: Principal = await request.app.state.container.authenticator.authenticate(credential.strip())
    return principal


def _refuse_unknown_parameters(known: frozenset[str], request: Request) -> None:
    raw = request.scope.get("query_string", b"") + request.scope["path"].encode()
    if b"%00" in raw or b"\0" in raw:
        raise CallerError("The address holds a NUL character, which no name has.")
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        errors = [FieldError(f"query/{name}", "is not a parameter of this path") for name in unknown]
        takes = ", ".join(sorted(known)) or "none"
        raise InvalidError(f"Unknown query parameter {unknown[0]!r}; this path takes: {takes}.", errors=errors)


class _WireAdapter:
    """A pydantic adapter that reads JSON names only: inside, our models may be made by their Python names, on the wire not."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def validate_python(self, value: Any, **options: Any) -> Any:
        """Validate by alias."""
        return self._adapter.validate_python(value, **options, by_alias=True, by_name=False)


def _read_by_alias(route: APIRoute) -> None:
    for field in route.dependant.body_params:
        field._type_adapter = cast("Any", _WireAdapter(field._type_adapter))  # noqa: SLF001 -- FastAPI has no option for it


def _query_names(route: APIRoute) -> frozenset[str]:
    fields = get_flat_params(route.dependant)
    return frozenset(field.alias for field in fields if isinstance(field.field_info, params.Query))


def _json_type(route: APIRoute) -> str:
    """The media type of the route's JSON body; empty if its body is none or something else."""
    info = route.body_field.field_info if route.body_field else None
    media_type = str(getattr(info, "media_type", ""))
    return media_type if media_type == "application/json" or media_type.endswith("+json") else ""


def _refuse_other_types(request: Request, wanted: str) -> None:
    """Say plainly what curl's default media type would make a riddle."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    empty = request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    if not empty and kind != "application/json" and not kind.endswith("+json"):
        said = kind or "no media type"
        raise UnsupportedMediaError(f"The body came as {said}. Send JSON with `Content-Type: {wanted}`.")


async def _bounded(request: Request, limit: int) -> Receive:
    """Refuse a body over `limit` bytes, whether it says its length or not."""
    if int(request.headers.get("content-length") or 0) > limit:
        await _drain(request.receive, limit)
        raise _too_large(limit)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return receive


async def _drain(receive: Receive, limit: int) -> None:
    """Read on for a while, so that an honest client sees the answer and not a broken pipe."""
    read = 0
    while read <= 2 * limit:
        message = await receive()
        read += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"A body of this path has at most {limit:,} bytes. Send less, or in parts.")


def _tagged(request: Request, response: Response) -> Response:
    """Give each read an ETag, the hash of its content, unless the router set one; answer 304 to who has it."""
    if request.method != "GET" or response.status_code != 200 or not hasattr(response, "body"):
        return response
    if response.headers.get("cache-control") == "no-store":
        return response
    tag = response.headers.get("etag") or content_tag(bytes(response.body))
    response.headers["etag"] = tag
    response.headers.setdefault("cache-control", "no-cache")
    # A proxy that compresses marks tags as weak (W/"..."); for reads the two are the same (RFC 9110, 13.1.2).
    seen = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if seen & {tag, "*"}:
        return Response(status_code=304, headers={"etag": tag})
    return response


def content_tag(body: bytes) -> str:
    """A strong ETag: 128 bits of the content's SHA-256."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
