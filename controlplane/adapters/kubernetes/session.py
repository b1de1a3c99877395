"""Requests to an API server: the client's addresses, certificates and tokens, without the machinery of its generated calls.

That machinery (a regular expression, an object and a search for cookies for each call, JSON by the standard library) says nothing
to an API server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from kubernetes.aio.client import ApiClient

CONNECTIONS = 128
"""Connections to one API server: more than a driver has calls in flight, watches included."""
_READ_AHEAD = 2**21
"""Bytes of an answer that are read before anybody took them: a page of a list, a burst of a watch."""


class Session:
    """The connections to one API server. The client's configuration says how to reach it and who we are."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._opened: aiohttp.ClientSession | None = None
        configuration = client.configuration
        self._more: dict[str, Any] = {}
        if configuration.proxy:
            self._more["proxy"] = configuration.proxy
        if configuration.proxy_headers:
            self._more["proxy_headers"] = configuration.proxy_headers
        if configuration.tls_server_name:
            self._more["server_hostname"] = configuration.tls_server_name

    async def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Mapping[str, Any] | None,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send; the answer's body is not read yet. Raises aiohttp's errors, OSError, TimeoutError."""
        # Tokens run out: the library renews those of files and exec plugins when it is asked for them.
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], url, method, None)
        data = encoded(body) if body is not None else None
        return await self._session().request(method, url, headers=headers, data=data, timeout=limits, **self._more)

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()
        await self._client.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._client.rest_client.ssl_context),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_AHEAD,
                # With `trust_env` each request would look for a proxy again, and read ~/.netrc twice, in threads.
                trust_env=False,
            )
        return self._opened


def encoded(body: Mapping[str, Any]) -> bytes:
    """JSON of a body. What the fast encoder does not know (whole numbers of more than 64 bits, keys that are numbers) the other does."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body).encode()
