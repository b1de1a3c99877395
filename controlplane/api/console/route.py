"""A route of the console: who is logged in comes from the cookie, and what goes wrong is told on a page."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse

from controlplane.api.problems import from_validation
from controlplane.api.routing import Handler, StrictRoute
from controlplane.domain.errors import DependencyError, SeawallError, UnauthenticatedError
from controlplane.ports.trace import current_trace_id

from .render import HEADERS, show
from .session import PATH, SEE_OTHER, person_of, take_cookie


class OpenPage(StrictRoute):
    """A page that anybody may see."""

    authenticated = False
    body_limit = 64_000
    login = False

    def get_route_handler(self) -> Handler:
        """Wrap our own strict handler."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                if self.login:
                    request.state.principal = await person_of(request)
                return await inner(request)
            except UnauthenticatedError as error:
                return to_login(request, error)
            except RequestValidationError as error:
                return problem_page(request, from_validation(error.errors()))
            except SeawallError as error:
                return problem_page(request, error)

        return handle


class Page(OpenPage):
    """A page for who is logged in."""

    login = True


def to_login(request: Request, error: UnauthenticatedError) -> Response:
    """Ask who it is, and remember where it was going; a cookie that holds no more is taken back."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    again = f"?next={quote(target)}" if request.method == "GET" and target != PATH else ""
    why = f"{'&' if again else '?'}code={error.code}" if error.code != UnauthenticatedError.code else ""
    response = RedirectResponse(f"{PATH}/login{again}{why}", SEE_OTHER, headers=HEADERS)
    take_cookie(response)
    return response


def problem_page(request: Request, error: SeawallError) -> Response:
    """Tell an error as a page."""
    request.scope.setdefault("state", {})["problem"] = error.code
    response = show(
        request, "problem.html", status=error.status, title=error.title, error=error, trace=current_trace_id()
    )
    wait = error.retry_after or (2 if isinstance(error, DependencyError) else None)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response
