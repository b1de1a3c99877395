"""From a template to a page: what every page has, how moments are said, and headers that run nothing but our own script and style."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from controlplane import __version__
from controlplane.api.dependencies import container_of
from controlplane.domain.breaker import breaker_name
from controlplane.domain.moments import when

from .session import PATH, form_token

_CAPITAL: Final = re.compile(r"(?<=[a-z])[A-Z]")
ASSETS: Final = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def show(request: Request, template: str, *, status: int = 200, live: bool = False, **context: Any) -> Response:
    """Answer with a page. `live`: the page renews itself when something changes."""
    container = container_of(request)
    now: datetime = context.pop("now", None) or container.clock()
    everywhere = {
        "fleet": container.settings.fleet_name,
        "me": getattr(request.state, "principal", None),
        "path": request.url.path,
        "token": form_token(request),
        "live": live,
        "version": __version__,
        "asset": asset_address,
        "link": link,
        "said": lambda moment: said(moment, now),
    }
    body = _templates().get_template(template).render({**everywhere, **context})
    return HTMLResponse(body, status, headers=HEADERS)


def said(moment: datetime | None, now: datetime) -> Markup:
    """A moment as people say it, with the exact one for who needs it; nothing for no moment."""
    if moment is None:
        return Markup("")
    exact = moment.isoformat(timespec="seconds")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, when(moment, now))


def link(path: str, query: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """An address below /console with a query; empty values are left out."""
    wanted = {name: str(value) for name, value in {**(query or {}), **changes}.items() if value not in (None, "")}
    return f"{PATH}{path}" + (f"?{urlencode(wanted)}" if wanted else "")


@cache
def asset(name: str) -> bytes:
    """The bytes of a file that pages load."""
    return resources.files(__package__).joinpath("static", name).read_bytes()


@cache
def asset_address(name: str) -> str:
    """Its address, which changes with its content, so that browsers may keep it for ever."""
    return f"{PATH}/static/{hashlib.sha256(asset(name)).hexdigest()[:12]}/{name}"


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters["plain"] = plain
    made.filters["breaker"] = breaker_name
    return made


def plain(word: str) -> str:
    """A state as people write it: `rolledBack` is rolled back."""
    return _CAPITAL.sub(lambda found: f" {found[0].lower()}", word)
