"""Configuration kinds: the same five operations each, made from `services.configuration.kinds.KINDS`."""

# No `from __future__ import annotations` here: each kind's handlers are annotated with that kind's own model.
import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import IfMatch, check_if_match, etag_of, respond
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import feature_router
from controlplane.domain.names import VERSIONED_NAME_PATTERN, Name
from controlplane.domain.wire import Wire
from controlplane.ports.stores.configuration import ConfigRecord
from controlplane.services.configuration.kinds import KINDS, Kind
from controlplane.services.configuration.objects import delete_object, get_object, put_object

ObjectName = Annotated[Name, Path(description="A DNS-1123 label.")]
VersionedName = Annotated[
    str,
    Path(
        pattern=VERSIONED_NAME_PATTERN,
        max_length=73,
        description="A name, or with a version: careful@7.",
    ),
]


class Configured[S: Wire](Wire):
    """One version of a configuration object."""

    kind: str
    name: str
    version: int = Field(ge=1)
    created_at: datetime
    created_by: str
    spec: S


type Handler = Callable[..., Awaitable[Response]]


def _router(kind: Kind[Any]) -> APIRouter:
    router = feature_router(kind.plural)
    shown, listed = Configured[kind.model], Page[Configured[kind.model]]  # type: ignore[name-defined]  # made per kind
    one, upper = f"/v1/{kind.plural}/{{name}}", kind.singular.capitalize()
    plural = kind.plural.capitalize()

    def add(path: str, method: str, name: str, summary: str, handler: Handler, **more: Any) -> None:
        router.add_api_route(path, handler, methods=[method], operation_id=name, summary=summary, **more)

    created = {201: {"model": shown, "description": "It is new."}}
    a = "an" if kind.singular[0] in "aeiou" else "a"
    add(
        f"/v1/{kind.plural}",
        "GET",
        f"list{plural}",
        f"List the {kind.plural} in force",
        _list(kind),
        response_model=listed,
    )
    add(one, "GET", f"get{upper}", f"Show {a} {kind.singular}, or one version of it", _get(kind), response_model=shown)
    put = f"Create {a} {kind.singular}, or put a new version in force"
    add(one, "PUT", f"put{upper}", put, _put(kind), response_model=shown, responses=created)
    delete = f"Delete {a} {kind.singular} that nothing uses"
    add(one, "DELETE", f"delete{upper}", delete, _delete(kind), status_code=204, response_class=Response)
    return router


def _list(kind: Kind[Any]) -> Handler:
    async def list_objects(
        request: Request,
        call: Annotated[Call, may(f"{kind.plural}.read")],
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        after = decode(cursor, str)
        async with call.platform() as uow:
            rows = await uow.configuration.page(kind.plural, after[0] if after else None, limit + 1)
        return respond(page(request, rows, limit, show=lambda r: _shown(kind, r), position=lambda r: [r.name]))

    return list_objects


def _get(kind: Kind[Any]) -> Handler:
    async def get(name: VersionedName, call: Annotated[Call, may(f"{kind.plural}.read")]) -> Response:
        async with call.platform() as uow:
            return respond(_shown(kind, await get_object(uow, kind.plural, name)))

    return get


def _put(kind: Kind[Any]) -> Handler:
    async def put(
        request: Request,
        name: ObjectName,
        body: kind.model,  # type: ignore[name-defined]  # the kind's own model
        call: Annotated[Call, may(f"{kind.plural}.write")],
        if_match: IfMatch = None,
    ) -> Response:
        await asyncio.to_thread(kind.check, body, call.container.checkers)

        def check(current: ConfigRecord | None) -> None:
            check_if_match(if_match, etag_of(_shown(kind, current)) if current else None)

        async with call.platform() as uow:
            record, new = await put_object(uow, kind, name, body, actor=call.actor, check=check)
        headers = {"Location": absolute(request, f"/v1/{kind.plural}/{name}")} if new else {}
        return respond(_shown(kind, record), 201 if new else 200, headers)

    return put


def _delete(kind: Kind[Any]) -> Handler:
    async def delete(name: ObjectName, call: Annotated[Call, may(f"{kind.plural}.write")]) -> Response:
        async with call.platform() as uow:
            await delete_object(uow, kind, name, actor=call.actor)
        return Response(status_code=204)

    return delete


def _shown(kind: Kind[Any], record: ConfigRecord) -> Configured[Any]:
    fields = {name: value for name, value in vars(record).items() if name not in ("digest", "spec")}
    return Configured[Any](**fields, spec=kind.model.model_validate(record.spec))


ROUTERS = tuple(_router(kind) for kind in KINDS)
