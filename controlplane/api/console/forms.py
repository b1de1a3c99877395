"""What people do on the pages: log in and out; stop and go on; approve; freeze and thaw. Each form is sent by one of our own pages."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import TypeAdapter, ValidationError

from controlplane.api.dependencies import Call, container_of, may
from controlplane.api.idempotency import Answer, Effect, once
from controlplane.api.problems import invalid_body
from controlplane.api.routing import feature_router
from controlplane.domain.errors import InvalidError, UnauthenticatedError
from controlplane.domain.quantities import parse_duration
from controlplane.domain.requests import Sentence
from controlplane.domain.tree import PlainText
from controlplane.ports.uow import UnitOfWork
from controlplane.services import freezes
from controlplane.services.approvals import Ballot, Voter
from controlplane.services.approvals import vote as cast
from controlplane.services.rollouts.commands import Word, give, retry_body
from controlplane.services.sessions import end_session, open_session

from .render import HEADERS, link, show
from .route import OpenPage, Page
from .session import PATH, SEE_OTHER, check_origin, give_cookie, read_fields, read_form, secret_of, take_cookie

router = feature_router("console", route_class=Page)
open_router = feature_router("console", route_class=OpenPage)
_OVER: Final = {
    "session-over": "Your login is over.",
    "expired-key": "The key of your login has expired.",
    "revoked-key": "The key of your login was revoked.",
}
_SENTENCE: Final[TypeAdapter[str]] = TypeAdapter(Sentence)
_PLAIN: Final[TypeAdapter[str]] = TypeAdapter(PlainText)
_WORDS: Final[dict[str, Word]] = {"pause": "pause", "resume": "resume", "abort": "abort", "retry": "retry"}


@open_router.get(f"{PATH}/login", include_in_schema=False)
async def login_page(
    request: Request,
    next_: Annotated[str, Query(alias="next", max_length=2000)] = "",
    code: Annotated[str, Query(max_length=60)] = "",
) -> Response:
    """Ask for a key or token."""
    return show(request, "login.html", title="Log in", next=next_, said_why=_OVER.get(code, ""), error=None)


@open_router.post(f"{PATH}/login", include_in_schema=False)
async def log_in(request: Request) -> Response:
    """Check the key or token once, and give the browser a cookie that stands for it."""
    check_origin(request)
    fields = await read_fields(request)
    container = container_of(request)
    try:
        principal = await container.authenticator.authenticate(fields.get("key", ""))
    except UnauthenticatedError as error:
        return show(
            request, "login.html", status=401, title="Log in", next=fields.get("next", ""), said_why="", error=error
        )
    async with container.database.platform() as uow:
        secret, ends = await open_session(uow, principal)
    response = RedirectResponse(_ours(fields.get("next", "")), SEE_OTHER, headers=HEADERS)
    give_cookie(request, response, secret, ends)
    return response


@router.post(f"{PATH}/logout", include_in_schema=False)
async def log_out(request: Request, call: Annotated[Call, may("whoami.read")]) -> Response:
    """End the login, here and in the registry."""
    await read_form(request)
    async with call.platform() as uow:
        await end_session(uow, secret_of(request), actor=call.actor)
    response = RedirectResponse(f"{PATH}/login", SEE_OTHER, headers=HEADERS)
    take_cookie(response)
    return response


@router.post(f"{PATH}/rollouts/{{rollout_id}}/approve", include_in_schema=False)
async def vote(request: Request, rollout_id: uuid.UUID, call: Annotated[Call, may("rollouts.approve")]) -> Response:
    """Vote at a group's gates, for the plan that the page showed."""
    fields = await read_form(request)
    word: Literal["approve", "reject"] = "reject" if fields.get("vote") == "reject" else "approve"
    reason, plan_hash = _reason(fields, _SENTENCE), fields.get("planHash", "")
    ballot = Ballot(fields.get("group", ""), fields.get("wave") or None, plan_hash, reason, word)
    voter = Voter(call.actor, call.principal.email, call.principal.groups)

    async def effect(uow: UnitOfWork) -> Answer:
        await cast(uow, rollout_id, ballot, voter)
        return _back_to(f"/rollouts/{rollout_id}")

    return await _once(call, fields, effect)


@router.post(f"{PATH}/rollouts/{{rollout_id}}/{{word}}", include_in_schema=False)
async def command(
    request: Request, rollout_id: uuid.UUID, word: str, call: Annotated[Call, may("rollouts.control")]
) -> Response:
    """Pause, resume, abort or retry. A retry of a rollout that is over makes a new one: the command line does that."""
    fields = await read_form(request)
    if word not in _WORDS:
        raise InvalidError(f"{word!r} is not something to tell a rollout; there are: {', '.join(_WORDS)}.")
    body: dict[str, Any] = {"reason": _reason(fields, _SENTENCE)}
    if word == "abort":
        body["inFlight"] = "rollBack" if fields.get("inFlight") == "rollBack" else "finish"
    if word == "retry":
        body = retry_body(None, body["reason"])

    async def effect(uow: UnitOfWork) -> Answer:
        await give(uow, rollout_id, _WORDS[word], body, call.actor)
        return _back_to(f"/rollouts/{rollout_id}")

    return await _once(call, fields, effect)


@router.post(f"{PATH}/freezes", include_in_schema=False)
async def freeze(request: Request, call: Annotated[Call, may("freezes.write")]) -> Response:
    """Freeze all, or what a selector matches."""
    fields = await read_form(request)
    reason = _reason(fields, _PLAIN)
    if not reason:
        raise InvalidError("Say why: the reason is shown to everybody who waits.")
    hours = _span(fields.get("for", ""))

    async def effect(uow: UnitOfWork) -> Answer:
        until = uow.now + hours if hours else None
        await freezes.freeze(uow, freezes.FreezeWish(fields.get("selector") or None, reason, until), actor=call.actor)
        return _back_to("")

    return await _once(call, fields, effect)


@router.post(f"{PATH}/freezes/{{freeze_id}}/thaw", include_in_schema=False)
async def thaw(request: Request, freeze_id: uuid.UUID, call: Annotated[Call, may("freezes.write")]) -> Response:
    """End a freeze."""
    fields = await read_form(request)

    async def effect(uow: UnitOfWork) -> Answer:
        await freezes.thaw(uow, freeze_id, actor=call.actor)
        return _back_to("")

    return await _once(call, fields, effect)


async def _once(call: Call, fields: dict[str, str], effect: Effect) -> Response:
    """Carry a form out once, though it may be sent twice: each page has a key of its own in its forms."""
    key = fields.get("key", "")
    if not key:
        raise InvalidError("The form has no key of its own. Open the page again, then send it.")
    response = await once(call, key[:255], effect, transaction=call.platform())
    response.headers.update(HEADERS)
    return response


def _back_to(path: str) -> Answer:
    return Answer(SEE_OTHER, headers={"Location": link(path)})


def _reason(fields: dict[str, str], adapter: TypeAdapter[str]) -> str:
    try:
        return adapter.validate_python(fields.get("reason", ""))
    except ValidationError as error:
        raise invalid_body(error, ["reason"]) from error


def _span(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        return parse_duration(text, short=True)
    except ValueError as error:
        raise InvalidError(f"How long: {error}, or short: 30m, 4h.") from error


def _ours(address: str) -> str:
    """Where to go after the login: a page of ours, whatever the form says."""
    parts = urlsplit(address)
    inside = parts.path == PATH or parts.path.startswith(f"{PATH}/")
    if parts.scheme or parts.netloc or not inside or "\\" in address or "//" in parts.path:
        return PATH
    return address
