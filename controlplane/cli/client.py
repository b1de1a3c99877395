"""HTTP calls to the API: keys, idempotency, pages, ETags, problems; what can be repeated safely is repeated."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import stamina

from controlplane import __version__

from .failures import ProblemError, UnreachableError
from .profile import Profile, current_profile

type Json = dict[str, Any]
"""What the API answers. Read by name and tolerantly, so that an older command line works with a newer API."""

_AWAY = frozenset({502, 503, 504})
_ATTEMPTS = 3
stamina.instrumentation.set_on_retry_hooks([])  # a retry is no news for the person who waits


class _AwayError(Exception):
    """An answer that says: try again. Carries it, for the last attempt."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(str(response.status_code))
        self.response = response


class Client:
    """Calls of one command. Every POST carries an Idempotency-Key, the same in each repetition."""

    def __init__(self, profile: Profile, *, patience: float = 4.0, before: Callable[[], object] = lambda: None) -> None:
        """Call `before` ahead of each request: it may raise, where the parts behind the API are known to have ended."""
        self.profile = profile
        self._before = before
        self.fleet = profile.fleet
        self._patience = patience
        headers = {"User-Agent": f"seawall/{__version__}", "Accept": "application/json"}
        if profile.key:
            headers["Authorization"] = f"Bearer {profile.key}"
        self._http = httpx.Client(base_url=profile.url, headers=headers, timeout=30.0, follow_redirects=False)

    def get(self, path: str, **params: Any) -> Json:
        """Read one thing. None parameters are left out. Raises ProblemError, UnreachableError."""
        answer: Json = self.request("GET", path, params=params).json()
        return answer

    def get_tagged(self, path: str) -> tuple[Json, str]:
        """Read one thing and its ETag."""
        response = self.request("GET", path)
        return response.json(), response.headers.get("etag", "")

    def post(self, path: str, body: Any = None, *, key: str = "") -> Json:
        """Create or act."""
        return _content(self.request("POST", path, json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())}))

    def put(self, path: str, body: Any, etag: str = "") -> httpx.Response:
        """Create or replace; `etag` is the version that was read."""
        return self.request("PUT", path, json=body, headers={"If-Match": etag} if etag else {})

    def patch(self, path: str, body: Any, etag: str) -> Json:
        """Change by merge patch."""
        headers = {"If-Match": etag, "Content-Type": "application/merge-patch+json"}
        return _content(self.request("PATCH", path, json=body, headers=headers))

    def delete(self, path: str, body: Any = None) -> Json:
        """Delete."""
        return _content(self.request("DELETE", path, json=body))

    def upload(self, path: str, data: bytes) -> Json:
        """Send bytes as they are."""
        headers = {"Content-Type": "application/octet-stream"}
        return _content(self.request("PUT", path, content=data, headers=headers, timeout=120.0))

    def pages(self, path: str, *, most: int | None = None, **params: Any) -> Iterator[Json]:
        """Read a list to its end, or `most` items of it."""
        seen = 0
        answer = self.get(path, limit=min(most or 200, 200), **params)
        while True:
            for item in answer["items"]:
                if most is not None and seen >= most:
                    return
                seen += 1
                yield item
            if not answer.get("next"):
                return
            answer = self.get(answer["next"])

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call, repeated while the API is away and `patience` lasts. Raises ProblemError, UnreachableError."""
        self._before()
        if "params" in options:
            # httpx drops the query of an address if it is given parameters, even none
            options["params"] = {k: v for k, v in options["params"].items() if v is not None} or None
        waits = stamina.retry_context(
            on=(httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, _AwayError),
            attempts=_ATTEMPTS,
            timeout=self._patience,
            wait_initial=0.1,
            wait_max=2.0,
        )
        try:
            for attempt in waits:
                with attempt:
                    return self._once(method, path, options)
        except _AwayError as error:
            raise _problem(error.response) from error
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[Iterator[str]]:
        """Read a stream of lines. Raises ProblemError; httpx errors pass, for the caller falls back to polling."""
        options = httpx.Timeout(30.0, read=20.0)
        with self._http.stream("GET", path, headers=headers, timeout=options) as response:
            if response.is_error:
                response.read()
                raise _problem(response)
            yield response.iter_lines()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _once(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        response = self._http.request(method, path, **options)
        self.fleet = response.headers.get("seawall-fleet", self.fleet)
        if response.status_code in _AWAY:
            raise _AwayError(response)
        if response.is_error:
            raise _problem(response)
        return response

    def _unreachable(self, error: httpx.HTTPError) -> UnreachableError:
        what = str(error) or type(error).__name__
        hint = "Is it running? `seawall up` starts one here; `seawall login` stores another address."
        return UnreachableError(f"No answer from the API at {self.profile.url}: {what}", hint=hint)


def connect() -> Client:
    """A client of the current profile. Raises UsageError if there is none."""
    return Client(current_profile())


def _content(response: httpx.Response) -> Json:
    found: Any = response.json() if response.content else {}
    return found if isinstance(found, dict) else {"items": found}


def _problem(response: httpx.Response) -> ProblemError:
    try:
        body = response.json()
    except ValueError:
        body = {"detail": response.text[:500]}
    return ProblemError(response.status_code, body if isinstance(body, dict) else {"detail": str(body)})
