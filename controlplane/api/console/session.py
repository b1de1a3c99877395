"""The cookie of a login, and proof that a form was sent from one of our own pages."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response

from controlplane.api.dependencies import container_of
from controlplane.domain.errors import ForbiddenError, InvalidError, UnauthenticatedError
from controlplane.domain.identity import Principal
from controlplane.services.sessions import principal_of_session

PATH: Final = "/console"
SEE_OTHER: Final = 303
"""HTTP: look there, with a GET."""
_COOKIE: Final = "seawall_session"
_FORM: Final = "application/x-www-form-urlencoded"


def secret_of(request: Request) -> str:
    """What the browser's cookie holds; empty without one."""
    return request.cookies.get(_COOKIE, "")


async def person_of(request: Request) -> Principal:
    """Who is logged in. Raises UnauthenticatedError."""
    secret = secret_of(request)
    if not secret:
        raise UnauthenticatedError("Log in with an API key or a token.")
    return await principal_of_session(container_of(request).database, secret)


def give_cookie(request: Request, response: Response, secret: str, ends: datetime) -> None:
    """Let the browser keep the login: out of reach of scripts, for /console only, never sent by other sites' forms."""
    response.set_cookie(
        _COOKIE, secret, expires=ends, path=PATH, httponly=True, samesite="lax", secure=_is_https(request)
    )


def take_cookie(response: Response) -> None:
    """Let the browser forget the login."""
    response.delete_cookie(_COOKIE, path=PATH, httponly=True, samesite="lax")


def form_token(request: Request) -> str:
    """What each of our forms carries: bound to the login, of no use to whoever can't read the cookie."""
    return hmac.new(secret_of(request).encode(), b"seawall console form", hashlib.sha256).hexdigest()


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that one of our pages sent. Raises ForbiddenError `foreign-form`, InvalidError."""
    check_origin(request)
    fields = await read_fields(request)
    if not hmac.compare_digest(fields.pop("token", "").encode(), form_token(request).encode()):
        raise ForbiddenError(
            "The form is not from this login's pages. Open the page again, then send it.", code="foreign-form"
        )
    return fields


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form; of a name that came twice the last. Raises InvalidError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise InvalidError(f"Send the form as {_FORM}.")
    try:
        found = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise InvalidError("The form can't be read.") from error
    fields = {name: values[-1].strip() for name, values in found.items()}
    if any("\0" in text for text in fields.values()):
        raise InvalidError("A field holds a NUL character, which can't be stored.")
    return fields


def check_origin(request: Request) -> None:
    """Refuse what a browser says comes from another site. Raises ForbiddenError `foreign-form`."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    ours = {request.headers.get("host"), urlsplit(container_of(request).settings.public_url).netloc} - {"", None}
    if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc not in ours):
        raise ForbiddenError("Another site sent this form. Log in here and use our own page.", code="foreign-form")


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https" or container_of(request).settings.public_url.startswith("https://")
