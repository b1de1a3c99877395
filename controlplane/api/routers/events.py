"""Events in: CloudEvents from callers with a key, requests that signed sources push, the fate of each event, dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Header, Path, Query, Request, Response
from pydantic import Field, JsonValue

from controlplane.api.dependencies import Call, container_of, may
from controlplane.api.etags import respond
from controlplane.api.idempotency import Answer, IdempotencyKey, once
from controlplane.api.links import absolute
from controlplane.api.paging import Cursor, Limit, Page, decode, page
from controlplane.api.routing import OpenRoute, feature_router
from controlplane.domain.errors import ForbiddenError, NotFoundError
from controlplane.domain.events import BATCH, MAX_ID, STRUCTURED, read_events
from controlplane.domain.names import Name
from controlplane.domain.sources import Source, authenticate, read_hook
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire
from controlplane.ports.faults import fault_point
from controlplane.ports.stores.events import EventRecord, NewEvent
from controlplane.ports.trace import trace_headers
from controlplane.ports.uow import UnitOfWork
from controlplane.services.events import dead_letters as dead
from controlplane.services.events.receive import Receipt, check_sources, receive, receive_signed

router = feature_router("events")
hooks = feature_router("events", route_class=OpenRoute)

_EVENT = {"type": "object", "required": ["specversion", "id", "source", "type"]}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": _EVENT},
            BATCH: {"schema": {"type": "array", "items": _EVENT}},
            "application/json": {"schema": {}},
        },
    }
}
_PUSHED: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}
EventId = Annotated[str, Path(min_length=1, max_length=MAX_ID)]


class EventReceipt(Wire):
    """An event that is stored. `fate` is where to read what becomes of it."""

    id: str
    source: str
    duplicate: bool = Field(description="It was there before; it starts nothing a second time.")
    fate: str


class EventReceipts(Wire):
    """Everything a request held; all of it is stored."""

    events: list[EventReceipt]


class EventRef(Wire):
    """An event's name."""

    source: str
    id: str


class Fate(Wire):
    """What one trigger made of it."""

    trigger: str = Field(description="The trigger; empty if none listens.")
    outcome: str = Field(
        description="started planned coalescing coalesced waiting held rejected nothing-to-do refused failed"
        " filtered filter-error template-error not-allowed unheard"
    )
    reason: str
    code: str | None = None
    app: str | None = None
    version: str | None = None
    rollout: str | None = Field(default=None, description="The rollout it became.")
    until: datetime | None = Field(default=None, description="When it is looked at again.")
    into: EventRef | None = Field(default=None, description="The newer event that took its place.")
    tries: int | None = None


class Event(Wire):
    """An event and its fate."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime | None
    received_at: datetime
    received_from: str = Field(description="api:CALLER, hooks/SOURCE or bus:SUBJECT.")
    state: str = Field(description="received waiting done dead")
    fate: list[Fate]
    due_at: datetime | None
    data: JsonValue


class DeadLetter(Wire):
    """What could not be understood, carried out or delivered."""

    kind: Literal["event", "delivery"]
    id: str
    source: str | None = Field(default=None, description="Of an event.")
    webhook: str | None = Field(default=None, description="Of a delivery.")
    event: str | None = Field(default=None, description="Of a delivery: which event.")
    attempts: int
    reason: str
    since: datetime


class DeadLetterRef(Wire):
    """A dead letter to try again."""

    kind: Literal["event", "delivery"]
    id: Annotated[PlainText, Field(min_length=1, max_length=MAX_ID)]
    source: Annotated[PlainText, Field(max_length=2048)] = Field(default="", description="Needed for an event.")


class Redrive(Wire):
    """What to try again."""

    items: Annotated[list[DeadLetterRef], Field(min_length=1, max_length=500)]


class Redriven(Wire):
    """What is due again, and what was no dead letter (any more)."""

    redriven: list[DeadLetterRef]
    not_found: list[DeadLetterRef]


@router.post(
    "/v1/events", operation_id="sendEvents", status_code=202, response_model=EventReceipts, openapi_extra=_BODY
)
async def send_events(request: Request, call: Annotated[Call, may("events.send")]) -> Response:
    """Send CloudEvents: structured, binary or a batch. Stored before the answer, all or none; (source, id) makes a retry harmless."""
    events = read_events(request.headers.get("content-type", ""), _lower(request.headers), await request.body())
    apps = call.principal.apps if call.bound else None
    trace = trace_headers()
    async with call.platform() as uow:
        await check_sources(uow, events)
        receipts = await receive(uow, [NewEvent(e, f"api:{call.actor}", apps, trace) for e in events])
    fault_point("api:after-commit")
    return _accepted(request, receipts)


@hooks.post(
    "/v1/hooks/{source}",
    operation_id="receiveHook",
    status_code=202,
    response_model=EventReceipts,
    openapi_extra=_PUSHED,
)
async def receive_hook(
    request: Request,
    source: Name,
    code: Annotated[str, Query(max_length=512, description="The secret, for sources of kind azure.")] = "",
) -> Response:
    """Receive a signed request of GitHub, Azure Event Grid, a container registry or Flux."""
    body, headers = await request.body(), _lower(request.headers)
    found = await _source(request, source)
    secrets = [container_of(request).secrets.read(ref) for ref in found.secrets]
    authenticate(found, secrets, headers, {"code": code}, body)
    events = read_hook(source, found, headers, body)
    async with container_of(request).database.platform() as uow:
        receipts = await receive_signed(uow, source, found, events, trace_headers())
    fault_point("api:after-commit")
    return _accepted(request, receipts)


@hooks.options("/v1/hooks/{source}", operation_id="agreeToHook", response_class=Response)
async def agree_to_hook(
    request: Request,
    source: Name,
    origin: Annotated[str, Header(alias="WebHook-Request-Origin", max_length=253)] = "",
    code: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """Agree to deliveries (CloudEvents web hooks 1.0, section 4): Azure Event Grid asks before it sends anything."""
    found = await _source(request, source)
    if found.kind != "azure" or origin.lower() not in found.allowed_origins:
        allowed = ", ".join(found.allowed_origins) if found.kind == "azure" else "nobody"
        detail = f"The source {source} lets {allowed} ask for deliveries, not {origin or 'a request without WebHook-Request-Origin'}."
        raise ForbiddenError(detail, code="origin-not-allowed")
    return Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "OPTIONS, POST"})


@router.get("/v1/events/{id:path}", operation_id="getEvent", response_model=Event)
async def get_event(
    id: EventId,  # noqa: A002 -- the path's own word
    call: Annotated[Call, may("events.read")],
    source: Annotated[str, Query(max_length=2048, description="Needed if several sources used this id.")] = "",
) -> Response:
    """Read an event's fate: what it matched, what it started, or why it started nothing."""
    async with call.platform() as uow:
        found = [r for r in await uow.events.with_id(id) if source in ("", r.event.source) and _visible(call, r)]
    if not found:
        raise NotFoundError(f"There is no event {id}{f' of {source}' if source else ''} that you may see.")
    if len(found) > 1:
        named = ", ".join(r.event.source for r in found[:5])
        raise NotFoundError(
            f"Several sources used the id {id}: add ?source= with one of {named}.", code="event-ambiguous"
        )
    return respond(_event(found[0]))


@router.get("/v1/dead-letters", operation_id="listDeadLetters", response_model=Page[DeadLetter])
async def list_dead_letters(
    request: Request, call: Annotated[Call, may("dead-letters.read")], limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List dead letters, newest first: inbound events and outbound deliveries."""
    position = decode(cursor, datetime)
    async with call.transaction() as uow:
        rows = await dead.newest(uow, position[0] if position else None, limit + 1)
    return respond(page(request, rows, limit, show=_letter, position=lambda row: (row.since.isoformat(),)))


@router.post("/v1/dead-letters:redrive", operation_id="redriveDeadLetters", response_model=Redriven)
async def redrive(body: Redrive, key: IdempotencyKey, call: Annotated[Call, may("dead-letters.redrive")]) -> Response:
    """Try dead letters again."""

    async def effect(uow: UnitOfWork) -> Answer:
        done = [await dead.redrive(uow, i.kind, i.source, i.id, actor=call.actor) for i in body.items]
        pairs = list(zip(body.items, done, strict=True))
        return Answer(200, Redriven(redriven=[i for i, ok in pairs if ok], not_found=[i for i, ok in pairs if not ok]))

    return await once(call, key, effect)


async def _source(request: Request, name: str) -> Source:
    async with container_of(request).database.platform() as uow:
        record = await uow.configuration.current("sources", name)
    if record is None:
        raise NotFoundError(f"There is no source {name}. `PUT /v1/sources/{name}` makes one.", code="unknown-source")
    return Source.model_validate(record.spec)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _visible(call: Call, record: EventRecord) -> bool:
    """A caller bound to apps sees what it sent itself."""
    return not call.bound or record.received_from == f"api:{call.actor}"


def _accepted(request: Request, receipts: Sequence[Receipt]) -> Response:
    shown = [
        EventReceipt(id=r.id, source=r.source, duplicate=r.duplicate, fate=absolute(request, _path(r)))
        for r in receipts
    ]
    headers = {"Retry-After": "1"} | ({"Operation-Location": shown[0].fate} if shown else {})
    return respond(EventReceipts(events=shown), 202, headers)


def _path(receipt: Receipt) -> str:
    return f"/v1/events/{quote(receipt.id, safe='')}?source={quote(receipt.source, safe='')}"


def _event(record: EventRecord) -> Event:
    event = record.event
    return Event(
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        time=event.time,
        received_at=record.received_at,
        received_from=record.received_from,
        state=record.state,
        fate=[Fate.model_validate(entry) for entry in record.fate],
        due_at=record.due_at,
        data=event.data,
    )


def _letter(row: dead.Letter) -> DeadLetter:
    return DeadLetter(
        kind=row.kind,
        id=row.id,
        source=row.source or None,
        webhook=row.webhook or None,
        event=row.event or None,
        attempts=row.attempts,
        reason=row.reason,
        since=row.since,
    )
